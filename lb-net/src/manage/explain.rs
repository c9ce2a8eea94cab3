//! Where a client would go, and why nowhere else: as text, and as JSON.

use std::{collections::HashMap, fmt::Write as _, net::IpAddr};

use lb_core::{Considered, Explanation, Reason, health::Share};
#[cfg(feature = "manage-http")]
use serde_json::{Value, json};

use super::{Fleet, show::numbered};

/// One channel and what was made of it.
struct Row {
    number: usize,
    backend: Considered,
    /// How much of its share it takes, unless it has gone meanwhile.
    share: Option<Share>,
}

/// What a client gets.
struct Explained {
    rows: Vec<Row>,
    explanation: Explanation,
    admitted_percent: u8,
}

impl Explained {
    fn of(client: IpAddr, fleet: &dyn Fleet) -> Self {
        let (mut explanation, stats) = (fleet.explain(client), fleet.stats());
        let shares: HashMap<_, _> = stats.backends.iter().map(|one| (one.id, one.share)).collect();
        let all = numbered(std::mem::take(&mut explanation.backends), |backend| backend.group);
        let rows = all.map(|(number, backend)| Row { number, share: shares.get(&backend.id).copied(), backend });
        Self { rows: rows.collect(), explanation, admitted_percent: stats.admitted_percent }
    }

    fn chosen(&self) -> Option<&Row> {
        self.rows.iter().find(|row| row.backend.reason == Reason::Chosen)
    }
}

/// For a person.
pub(super) fn text(client: IpAddr, fleet: &dyn Fleet) -> String {
    let explained = Explained::of(client, fleet);
    let Explained { rows, explanation, admitted_percent } = &explained;
    let place = |row: &Row| format!("group {} channel {}, {}", row.backend.group, row.number, row.backend.name);
    let chosen = explained.chosen().map(|row| format!("gets {}", place(row)));
    let no_pick = explanation.no_pick.as_ref().map(|why| format!("gets no channel: {why}"));
    let answer = chosen.or(no_pick).unwrap_or_else(|| "gets no channel".to_owned());
    let is_served = explanation.no_pick.is_none();
    let resort = if explanation.last_resort && is_served { ", as a last resort: nothing is up" } else { "" };
    let admitted = match admitted_percent {
        percent if *percent < 100 && is_served && !explanation.last_resort => {
            format!(", if it is let in: {percent}% of all are while backends recover")
        }
        _ => String::new(),
    };
    let mut text = format!("client {client} {answer}{resort}{admitted}\n");
    for row in rows {
        // Of what takes nothing there is no share.
        let takes = matches!(row.backend.reason, Reason::Chosen | Reason::HasRoom | Reason::Full { .. });
        let share = row.share.filter(|share| takes && *share < Share::FULL);
        let share = share.map_or_else(String::new, |share| format!(", takes {}% of its share", share.get()));
        let _ = writeln!(text, "  {}: {}{share}", place(row), row.backend.reason);
    }
    text
}

/// For a program.
#[cfg(feature = "manage-http")]
pub(super) fn machine(client: IpAddr, fleet: &dyn Fleet) -> Value {
    let explained = Explained::of(client, fleet);
    let place = |row: &Row| json!({ "group": row.backend.group, "channel": row.number, "name": row.backend.name });
    let channel = |row: &Row| {
        let mut channel = place(row);
        channel["reason"] = row.backend.reason.to_string().into();
        channel["share_percent"] = row.share.map(Share::get).into();
        channel
    };
    json!({
        "client": client.to_string(),
        "chosen": explained.chosen().map(place),
        "no_channel": explained.explanation.no_pick.as_ref().map(ToString::to_string),
        "last_resort": explained.explanation.last_resort,
        "admitted_percent": explained.admitted_percent,
        "channels": explained.rows.iter().map(channel).collect::<Vec<_>>(),
    })
}
