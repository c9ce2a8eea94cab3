//! Which request asks for what.

use std::net::IpAddr;

use http::{Method, Uri};

use super::{answer::Answer, percent::decoded};
use crate::{
    manage::command::{self, printable},
    spelling::nearest,
};

/// What a request is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Route {
    Index,
    Metrics,
    Services,
    Pools,
    Pool(String),
    Explain { pool: String, client: IpAddr },
    Dump,
    Loaded,
    Difference,
    Reload,
    Monitor { pool: String, enabled: bool },
    Group { pool: String, group: String, verb: GroupVerb },
    Channel { pool: String, group: String, channel: String, verb: ChannelVerb },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum GroupVerb {
    Create,
    Hash,
    RoundRobin,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ChannelVerb {
    Enable,
    Disable,
    Drain,
    Reset,
    Weight,
    Limit,
    Assign,
}

const GROUP_VERBS: [(&str, GroupVerb); 3] =
    [("create", GroupVerb::Create), ("hash", GroupVerb::Hash), ("rr", GroupVerb::RoundRobin)];

const CHANNEL_VERBS: [(&str, ChannelVerb); 7] = [
    ("enable", ChannelVerb::Enable),
    ("disable", ChannelVerb::Disable),
    ("drain", ChannelVerb::Drain),
    ("reset", ChannelVerb::Reset),
    ("weight", ChannelVerb::Weight),
    ("maxc", ChannelVerb::Limit),
    ("assign", ChannelVerb::Assign),
];

/// What there is, for `GET /`.
pub(super) const ENDPOINTS: [(&str, &str, &str); 16] = [
    ("GET", "/metrics", "counters for Prometheus"),
    ("GET", "/v1/services", "what is served where, from which pool, and what is counted of HTTP requests"),
    ("GET", "/v1/pools", "the pools"),
    ("GET", "/v1/pools/{pool}", "a pool: groups, channels, counters"),
    ("GET", "/v1/pools/{pool}/explain?client={address}", "the channel that a client would get, and why no other"),
    ("POST", "/v1/pools/{pool}/groups/{group}/channels/{channel}/{enable|disable|drain|reset}", "orders of a channel"),
    ("POST", "/v1/pools/{pool}/groups/{group}/channels/{channel}/weight", "{\"weight\": 5}"),
    ("POST", "/v1/pools/{pool}/groups/{group}/channels/{channel}/maxc", "{\"limit\": 10}, or null for any number"),
    ("POST", "/v1/pools/{pool}/groups/{group}/channels/{channel}/assign", "{\"host\": \"alpha\", \"port\": 80}"),
    ("POST", "/v1/pools/{pool}/groups/{group}/create", "{\"host\": \"alpha\", \"port\": 80}: it is disabled at first"),
    ("POST", "/v1/pools/{pool}/groups/{group}/{hash|rr}", "clients keep their channel, or channels take turns"),
    ("POST", "/v1/pools/{pool}/monitor/{enable|disable}", "resume or pause checks"),
    ("GET", "/v1/dump", "the configuration in force, without a token and values of headers that checks send"),
    ("GET", "/v1/loaded", "the configuration as it was loaded, without the same"),
    ("GET", "/v1/diff", "what a reload would change"),
    ("POST", "/v1/reload", "apply what is new in the configuration file"),
];

const GET: &str = "GET, HEAD";
const POST: &str = "POST";

/// What a request is about, or why it is about nothing.
pub(super) fn find(method: &Method, uri: &Uri) -> Result<Route, Answer> {
    let mut segments = Vec::new();
    for part in uri.path().split('/').skip(1) {
        let text = decoded(part).ok_or_else(|| Answer::bad(format!("'{}' is no part of a path", printable(part))))?;
        segments.push(text);
    }
    // One slash at the end is as good as none.
    segments.pop_if(|last| last.is_empty());
    let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
    let query = uri.query().unwrap_or_default();
    let (allowed, route) = resolve(&segments, uri.path())?;
    let fits = if allowed == POST { method == Method::POST } else { method == Method::GET || method == Method::HEAD };
    if !fits {
        return Err(Answer::not_allowed(method.as_str(), allowed));
    }
    // Scrapers may be made to add some.
    let takes_query = matches!(route, Found::Explain(_) | Found::Is(Route::Metrics));
    if !query.is_empty() && !takes_query {
        return Err(Answer::bad(format!("there is no parameter '{}' here", printable(query))));
    }
    match route {
        Found::Is(route) => Ok(route),
        Found::Explain(pool) => Ok(Route::Explain { pool, client: client(query)? }),
    }
}

/// A route, or one that a query completes: that is looked at when the method is right.
enum Found {
    Is(Route),
    Explain(String),
}

fn resolve(segments: &[&str], path: &str) -> Result<(&'static str, Found), Answer> {
    let get = |route| Ok((GET, Found::Is(route)));
    let post = |route| Ok((POST, Found::Is(route)));
    match *segments {
        [] | ["v1"] => get(Route::Index),
        ["metrics"] => get(Route::Metrics),
        ["v1", "services"] => get(Route::Services),
        ["v1", "dump"] => get(Route::Dump),
        ["v1", "loaded"] => get(Route::Loaded),
        ["v1", "diff"] => get(Route::Difference),
        ["v1", "reload"] => post(Route::Reload),
        ["v1", "pools"] => get(Route::Pools),
        ["v1", "pools", pool] => get(Route::Pool(pool.to_owned())),
        ["v1", "pools", pool, "explain"] => Ok((GET, Found::Explain(pool.to_owned()))),
        ["v1", "pools", pool, "monitor", verb] => {
            let enabled = meant(&[("enable", true), ("disable", false)], verb, "a monitor")?;
            post(Route::Monitor { pool: pool.to_owned(), enabled })
        }
        ["v1", "pools", pool, "groups", group, verb] => {
            let verb = meant(&GROUP_VERBS, verb, "a group")?;
            post(Route::Group { pool: pool.to_owned(), group: group.to_owned(), verb })
        }
        ["v1", "pools", pool, "groups", group, "channels", channel, verb] => {
            let verb = meant(&CHANNEL_VERBS, verb, "a channel")?;
            let (pool, group, channel) = (pool.to_owned(), group.to_owned(), channel.to_owned());
            post(Route::Channel { pool, group, channel, verb })
        }
        [.., "kill"] => Err(Answer::not_found(
            "kill is not offered over HTTP: use the control socket, or send SIGTERM to the process",
        )),
        _ => Err(Answer::not_found(format!("there is no '{}': GET / tells what there is", printable(path)))),
    }
}

fn meant<T: Copy>(verbs: &[(&str, T)], word: &str, of: &str) -> Result<T, Answer> {
    if let Some((_, verb)) = verbs.iter().find(|(name, _)| *name == word) {
        return Ok(*verb);
    }
    let names = || verbs.iter().map(|(name, _)| *name);
    let remedy = match nearest(word, names()) {
        Some(near) => format!("did you mean '{near}'?"),
        None => format!("expected one of {}", names().collect::<Vec<_>>().join(", ")),
    };
    Err(Answer::not_found(format!("there is no order '{}' of {of}: {remedy}", printable(word))))
}

/// The one parameter of `explain`.
fn client(query: &str) -> Result<IpAddr, Answer> {
    let example = "?client=ADDRESS, such as ?client=192.0.2.7";
    let value = match query.split_once('=') {
        Some(("client", value)) => decoded(value).unwrap_or_else(|| value.to_owned()),
        _ => return Err(Answer::bad(format!("'{}' is not what explain takes: {example}", printable(query)))),
    };
    command::address(&value).map_err(Answer::bad)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn there_is_what_the_index_says_and_with_that_method_only() {
        for (method, path, _) in ENDPOINTS {
            let verbs: Vec<&str> = match path.rsplit_once("/{") {
                Some((_, verbs)) if verbs.contains('|') => verbs.trim_end_matches('}').split('|').collect(),
                _ => vec![""],
            };
            for verb in verbs {
                let stem = path.rsplit_once("/{").map_or(path, |(stem, _)| stem);
                let path = if verb.is_empty() { path.to_owned() } else { format!("{stem}/{verb}") };
                let path = path.replace("{address}", "::1").replace(['{', '}'], "");
                let uri: Uri = path.parse().unwrap();
                for (other, allowed) in [(Method::GET, "GET"), (Method::POST, "POST")] {
                    assert_eq!(find(&other, &uri).is_ok(), allowed == method, "{other} {path}");
                }
            }
        }
    }

    proptest! {
        #[test]
        fn no_path_panics(path in "(/(v1|pools|groups|channels|explain|monitor|%[0-9a-f]{0,2}|[a-z0-9{}é-]{0,4})){0,8}[?=a-z%:.]{0,12}") {
            if let Ok(uri) = path.parse::<Uri>() {
                let _ = (find(&Method::GET, &uri), find(&Method::POST, &uri));
            }
        }
    }
}
