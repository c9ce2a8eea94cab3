//! balance's commands: one control session, its current group, and the texts that scripts know.

use lb_core::{BackendConfig, BackendStats, Cause, Config, GroupConfig, Health, Status};

use super::{
    ChangeError, Edit, Fleet, Order,
    command::{self, Command, Monitor, Number, printable},
    explain,
    fleet::{backend_named, selector},
    said::{Done, Refusal, Said},
    show::{self, Channel, channels},
    whole,
};

/// Groups that balance has, used or not. Further ones can be entered where there are more.
const GROUPS: usize = 16;

const HELP: &str = "\
available commands:
  show                    a table of all groups and channels
  group <G>               the group that the following commands are about
  enable <N>              let channel N take connections
  disable <N>             give channel N no more connections
  create <HOST> <PORT>    one more channel, disabled at first
  assign <N> <HOST> <PORT>  another address for channel N while it is disabled
  maxc <N> <MAX>          connections at a time for channel N, 0 for any number
  reset <N>               let the counters of channel N begin at 0
  hash                    clients of this group keep their channel
  rr                      channels of this group take turns
  monitor <enable|disable|show>  resume or pause checks, or tell of them
  mrtg-bytes <G> <N>      bytes of a channel, for mrtg
  mrtg-conns <G> <N>      connections of a channel, for mrtg
  kill                    stop the master process
  version                 what this is
  help, ?                 this list
  quit                    end this session
what balance.fm does not have:
  drain <N>               finish what runs on channel N; again: how far it is
  weight <N> <W>          the share of channel N, 0 for none
  explain <ADDRESS>       the channel that a client would get, and why no other
  show json               all counters, for programs
  services                what is served where, and from which pool
  reload                  apply what is new in the configuration file
  diff                    what reload would change
  dump                    the configuration in force, as a file
  dump loaded             the configuration as it was loaded
  <command>; <command>    several commands in one line
";

/// What one line came to.
/// ```
/// let reply = lb_net::manage::Reply::default();
/// assert!(reply.text.is_empty() && !reply.failed && reply.end.is_none());
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Reply {
    /// What to print; it ends in a newline unless it is empty.
    pub text: String,
    /// Whether a command was refused or could not be understood.
    pub failed: bool,
    /// Whether the session is over.
    pub end: Option<End>,
}

impl Reply {
    fn say(&mut self, text: &str) {
        self.text.push_str(text);
        if !text.is_empty() && !text.ends_with('\n') {
            self.text.push('\n');
        }
    }
}

/// How a session ends by a command.
/// ```
/// use lb_net::manage::End;
/// assert_ne!(End::Quit, End::Kill);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// `quit`: the session only.
    Quit,
    /// `kill`: whoever runs the shell now calls [`Fleet::kill`], once the reply is on its way.
    Kill,
}

/// One control session: balance's commands, carried out one line at a time.
///
/// Any prefix of a command will do, as balance has it; `;` parts several commands in one line.
/// ```
/// use lb_net::manage::{Managed, Shell};
/// # let mut world = lb_core::sim::World::new(1);
/// let balancer = std::sync::Arc::new(world.balancer("alpha beta ! spare".parse()?));
/// let fleet = Managed::new(balancer, |_| Ok(()), |_| (), |()| None);
/// let mut shell = Shell::default();
/// assert_eq!(shell.execute("group 1; disable 0", &fleet).text, "channel 0 disabled\n");
/// assert!(shell.execute("disable 7", &fleet).failed);
/// # Ok::<(), lb_core::SpecError>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct Shell {
    group: usize,
}

impl Shell {
    /// The group that commands are about; the prompt shows it.
    #[must_use]
    pub fn group(&self) -> usize {
        self.group
    }

    /// Carries out the commands of one line, each whatever became of those before it; only what was meant for a group
    /// that is refused is left out. It blocks while a name is resolved.
    pub fn execute(&mut self, line: &str, fleet: &dyn Fleet) -> Reply {
        let (mut reply, mut is_change, mut is_astray) = (Reply::default(), false, false);
        let parts: Vec<&str> = line.split(';').collect();
        for (at, part) in parts.iter().enumerate() {
            let is_group = command::is_group(part);
            let said = match Command::parse(part) {
                Ok(None) => continue,
                Ok(Some(Command::Quit)) => {
                    reply.end = Some(End::Quit);
                    break;
                }
                Ok(Some(Command::Kill)) => {
                    reply.end = Some(End::Kill);
                    break;
                }
                _ if is_astray && !is_group => continue,
                Ok(Some(Command::Group(number))) => self.enter(number, &parts[at + 1..], fleet),
                Ok(Some(command)) => self.carry_out(&command, fleet),
                Err(text) => Err(unknown(text)),
            };
            is_astray = is_group && said.is_err();
            reply.failed |= said.is_err();
            is_change |= said.as_ref().is_ok_and(|done| done.is_change);
            let (text, note) = said.map_or_else(|refusal| (refusal.into_text(), None), |done| (done.text, done.note));
            reply.say(&text);
            reply.say(&note.unwrap_or_default());
        }
        if is_change && let Some(permanence) = fleet.process().and_then(|process| process.permanence()) {
            reply.say(&permanence);
        }
        reply
    }

    /// A session that begins with this group.
    #[cfg(feature = "manage-http")]
    pub(super) fn of_group(group: usize) -> Self {
        Self { group }
    }

    pub(super) fn carry_out(&mut self, command: &Command<'_>, fleet: &dyn Fleet) -> Said {
        match *command {
            Command::Quit | Command::Kill => Ok("".into()),
            Command::Group(number) => self.enter(number, &[], fleet),
            Command::Show => Ok(show::table(fleet).into()),
            Command::ShowJson => Ok(format!("{}\n", show::machine(fleet)).into()),
            Command::Help => Ok(HELP.into()),
            Command::Version => Ok(version().into()),
            Command::Reload | Command::Difference | Command::Dump | Command::DumpLoaded | Command::Services => {
                whole::carry_out(command, fleet)
            }
            Command::Monitor(order) => monitor(order, fleet),
            Command::Disable(number) => self.disable(number, fleet),
            Command::Enable(number) => self.enable(number, fleet),
            Command::Drain(number) => self.drain(number, fleet),
            Command::Reset(number) => self.reset(number, fleet),
            Command::MaxConnections { channel, limit } => self.limit(channel, limit, fleet),
            Command::Weight { channel, weight } => self.weigh(channel, weight, fleet),
            Command::Create { host, port } => self.create(host, port, fleet),
            Command::Assign { channel, host, port } => self.assign(channel, host, port, fleet),
            Command::Hash => self.set_type(true, fleet),
            Command::RoundRobin => self.set_type(false, fleet),
            Command::MrtgBytes { group, channel } => mrtg(group, channel, fleet, |backend| {
                [backend.to_client_bytes.to_string(), backend.to_backend_bytes.to_string()]
            }),
            Command::MrtgConnections { group, channel } => {
                mrtg(group, channel, fleet, |backend| [backend.picked().to_string(), "UNKNOWN".to_owned()])
            }
            Command::Explain(client) => Ok(explain::text(client, fleet).into()),
        }
    }

    /// balance enters each of its groups, used or not. Where the session ends in the same line, and nothing in it begins
    /// the group, that can only be a mistake.
    fn enter(&mut self, number: Number<'_>, rest: &[&str], fleet: &dyn Fleet) -> Said {
        let group = existing_group(number, fleet).ok_or_else(|| unknown("value out of range"))?;
        let there = fleet.config().groups.len();
        let rest = || rest.iter().filter_map(|part| Command::parse(part).ok().flatten());
        let is_end = rest().any(|command| matches!(command, Command::Quit | Command::Kill));
        let mut here = rest().take_while(|command| !matches!(command, Command::Group(_)));
        if group >= there && is_end && !here.any(|command| command.begins_group()) {
            let last = there.checked_sub(1).map_or_else(String::new, |last| format!("the last one is {last}, "));
            return Err(unknown(format!("no such group {group}: {last}'create' begins another")));
        }
        self.group = group;
        Ok("".into())
    }

    /// A channel of the current group.
    fn channel(&self, number: Number<'_>, fleet: &dyn Fleet) -> Option<Channel> {
        channel_of(self.group, number, fleet)
    }

    fn disable(&self, number: Number<'_>, fleet: &dyn Fleet) -> Said {
        let channel = self.channel(number, fleet).ok_or_else(|| no_such(number))?;
        if channel.backend.status == Status::Disabled {
            return Ok(format!("channel {number} already disabled").into());
        }
        give(&channel, Order::Status(Status::Disabled), fleet).ok_or_else(|| no_such(number))?;
        Ok(Done::changed(format!("channel {number} disabled")))
    }

    fn enable(&self, number: Number<'_>, fleet: &dyn Fleet) -> Said {
        let channel = self.channel(number, fleet).ok_or_else(|| no_such(number))?;
        if (channel.backend.status, channel.backend.health) == (Status::Enabled, Health::Up) {
            return Ok(format!("channel {number} already enabled").into());
        }
        give(&channel, Order::Enable, fleet).ok_or_else(|| no_such(number))?;
        let kept_out = self.channel(number, fleet).and_then(|channel| kept_out(&channel.backend));
        Ok(Done::changed(format!("channel {number} enabled")).with_note(kept_out))
    }

    /// What is disabled takes even less than what drains: it stays so.
    fn drain(&self, number: Number<'_>, fleet: &dyn Fleet) -> Said {
        let channel = self.channel(number, fleet).ok_or_else(|| no_such(number))?;
        let (disabled, draining) =
            (channel.backend.status == Status::Disabled, channel.backend.status == Status::Draining);
        if !disabled {
            give(&channel, Order::Status(Status::Draining), fleet).ok_or_else(|| no_such(number))?;
        }
        // Counted after the order: from now on it only falls.
        let left = self.channel(number, fleet).ok_or_else(|| no_such(number))?.backend.in_flight;
        let text = match (left, disabled) {
            (0, _) => format!("channel {number} drained"),
            (1, false) => format!("channel {number} draining, 1 connection left"),
            (_, false) => format!("channel {number} draining, {left} connections left"),
            (1, true) => format!("channel {number} already disabled, 1 connection left"),
            (_, true) => format!("channel {number} already disabled, {left} connections left"),
        };
        Ok(Done { is_change: !disabled && !draining, ..text.into() })
    }

    fn reset(&self, number: Number<'_>, fleet: &dyn Fleet) -> Said {
        let channel = self.channel(number, fleet).ok_or_else(|| no_such(number))?;
        give(&channel, Order::ResetCounters, fleet).ok_or_else(|| no_such(number))?;
        Ok(format!("channel {number} counters reset").into())
    }

    /// balance's 0 is no limit.
    fn limit(&self, number: Number<'_>, limit: u32, fleet: &dyn Fleet) -> Said {
        let channel = self.channel(number, fleet).ok_or_else(|| unknown(UNKNOWN_CHANNEL))?;
        let limited = give(&channel, Order::Limit(Some(limit).filter(|limit| *limit > 0)), fleet);
        limited.ok_or_else(|| unknown(UNKNOWN_CHANNEL))?;
        Ok(Done::changed(format!("maxc of channel {number} changed to {limit}")))
    }

    fn weigh(&self, number: Number<'_>, weight: u16, fleet: &dyn Fleet) -> Said {
        let channel = self.channel(number, fleet).ok_or_else(|| unknown(UNKNOWN_CHANNEL))?;
        give(&channel, Order::Weight(weight), fleet).ok_or_else(|| unknown(UNKNOWN_CHANNEL))?;
        Ok(Done::changed(format!("weight of channel {number} changed to {weight}")))
    }

    fn create(&self, host: &str, port: &str, fleet: &dyn Fleet) -> Said {
        let backend = backend_named(host, port).ok_or_else(|| misnamed(host, port))?;
        let created = backend.clone();
        self.change(Some(&backend), fleet, &mut |config| {
            group_of(config, self.group, fleet).backends.push(created.clone());
            Ok(())
        })?;
        Ok(Done::changed("channel created"))
    }

    fn assign(&self, number: Number<'_>, host: &str, port: &str, fleet: &dyn Fleet) -> Said {
        // Said at once, before a name is asked for, and again with the configuration that is changed.
        assignable(&mut fleet.config(), self.group, number).map(|_| ()).map_err(objection)?;
        let backend = backend_named(host, port).ok_or_else(|| misnamed(host, port))?;
        let name = backend.name.clone();
        self.change(Some(&backend), fleet, &mut |config| {
            assignable(config, self.group, number)?.name.clone_from(&name);
            Ok(())
        })?;
        Ok(Done::changed("channel reassigned"))
    }

    fn set_type(&self, hashes: bool, fleet: &dyn Fleet) -> Said {
        let selector = selector(fleet, hashes);
        self.change(None, fleet, &mut |config| {
            group_of(config, self.group, fleet).selector = selector;
            Ok(())
        })?;
        Ok(Done::changed(format!("group {} set to {}", self.group, if hashes { "hash" } else { "round robin" })))
    }

    fn change(&self, newcomer: Option<&BackendConfig>, fleet: &dyn Fleet, edit: &mut Edit<'_>) -> Result<(), Refusal> {
        fleet.change(newcomer, edit).map_err(|error| match error {
            ChangeError::Address(why) => Refusal::Invalid(INVALID_ADDRESS.to_owned(), Some(why)),
            ChangeError::Refused(text) => objection(text),
        })
    }
}

const INVALID_ADDRESS: &str = "invalid address";
const UNKNOWN_CHANNEL: &str = "unknown channel";

fn unknown(text: impl Into<String>) -> Refusal {
    Refusal::Unknown(text.into())
}

fn no_such(number: Number<'_>) -> Refusal {
    unknown(format!("no such channel {number}"))
}

fn misnamed(host: &str, port: &str) -> Refusal {
    let why = format!("'{}' and '{}' are no host and its port", printable(host), printable(port));
    Refusal::Invalid(INVALID_ADDRESS.to_owned(), Some(why))
}

/// What [`assignable`] said.
fn objection(text: &str) -> Refusal {
    if text == UNKNOWN_CHANNEL { unknown(text) } else { Refusal::Conflict(text.to_owned()) }
}

/// Why a channel takes nothing that people want to take something: its application says so, and enabling it does not
/// change that. What else keeps it out is forgotten, or ends by itself.
fn kept_out(backend: &BackendStats) -> Option<String> {
    let takes = match backend.health {
        Health::Draining => "it takes no new clients yet",
        Health::Down(Cause::Said | Cause::Maintenance) => "it takes no connections yet",
        _ => return None,
    };
    Some(format!("{takes}: {}", backend.reason))
}

/// Nothing when the channel has gone meanwhile.
fn give(channel: &Channel, order: Order, fleet: &dyn Fleet) -> Option<()> {
    fleet.order(channel.backend.id, order).ok()
}

pub(super) fn existing_group(number: Number<'_>, fleet: &dyn Fleet) -> Option<usize> {
    number.value.filter(|group| *group < GROUPS || *group < fleet.config().groups.len())
}

pub(super) fn channel_of(group: usize, number: Number<'_>, fleet: &dyn Fleet) -> Option<Channel> {
    let mut all = channels(fleet).into_iter();
    all.find(|channel| channel.backend.group == group && Some(channel.number) == number.value)
}

/// A group to change, which begins to exist when nobody has used it before.
fn group_of<'a>(config: &'a mut Config, group: usize, fleet: &dyn Fleet) -> &'a mut GroupConfig {
    if config.groups.len() <= group {
        config.groups.resize_with(group + 1, || GroupConfig::default().with_selector(fleet.selector()));
    }
    &mut config.groups[group]
}

/// A channel that may get another address.
fn assignable<'a>(
    config: &'a mut Config,
    group: usize,
    number: Number<'_>,
) -> Result<&'a mut BackendConfig, &'static str> {
    let group = config.groups.get_mut(group);
    let backend = group.zip(number.value).and_then(|(group, number)| group.backends.get_mut(number));
    match backend {
        None => Err(UNKNOWN_CHANNEL),
        Some(backend) if backend.status != Status::Disabled => Err("channel must be disabled to assign new address"),
        Some(backend) => Ok(backend),
    }
}

fn monitor(order: Monitor, fleet: &dyn Fleet) -> Said {
    const NONE: &str = "no monitor process running";
    let state = |enabled: bool| if enabled { "enabled" } else { "disabled" };
    if order == Monitor::Show {
        // That there is none is an answer too.
        let running = |enabled| format!("monitor process running as pid {} and is {}", fleet.pid(), state(enabled));
        return Ok(fleet.is_monitored().map_or_else(|| NONE.to_owned(), running).into());
    }
    let wanted = order == Monitor::Enable;
    let is_change = fleet.set_monitored(wanted).ok_or_else(|| Refusal::Conflict(NONE.to_owned()))?;
    let text = format!("monitor is {} {}", if is_change { "now" } else { "already" }, state(wanted));
    Ok(Done { is_change, ..text.into() })
}

/// Four lines in the order that mrtg wants: in, out, uptime, name.
fn mrtg(
    group: Number<'_>,
    channel: Number<'_>,
    fleet: &dyn Fleet,
    counters: impl Fn(&lb_core::BackendStats) -> [String; 2],
) -> Said {
    let in_group = existing_group(group, fleet).ok_or_else(|| unknown("unknown group"))?;
    let found = channel_of(in_group, channel, fleet).ok_or_else(|| unknown(UNKNOWN_CHANNEL))?;
    let [incoming, outgoing] = counters(&found.backend);
    Ok(format!("{incoming}\n{outgoing}\nUNKNOWN\ngroup {group} channel {channel}\n").into())
}

fn version() -> String {
    let ours = env!("CARGO_PKG_VERSION");
    format!(
        "  This is balance.fm 1.0.0\n  MAXGROUPS=16\n  MAXCHANNELS=64\n  served by lb {ours}, without those limits\n"
    )
}
