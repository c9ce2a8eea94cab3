//! What is written by who knows other programs or writes in a hurry, and what to write in its place.

use std::net::Ipv6Addr;

use lb_core::BackendConfig;

use super::keys::{self, Key};
use crate::spelling::nearest;

/// Keys of other programs, and ours.
const ELSEWHERE: &[(&[&str], &str)] = &[
    (&["bind", "port", "address", "listeners"], "listen"),
    (&["host", "addr", "address", "server"], "name"),
    (&["max", "maxc", "maxconn", "max_connections", "capacity"], "limit"),
    (&["algorithm", "balance", "policy", "strategy", "method"], "selector"),
    (&["servers", "members", "targets", "hosts"], "backends"),
    (&["backend", "upstream"], "pool"),
    (&["health", "healthcheck", "health_check", "check", "monitor"], "probes"),
    (&["path", "url", "uri"], "http"),
    (&["exec", "script", "cmd"], "command"),
    (&["tcp"], "connect"),
    (&["body"], "expect"),
    (&["contains", "match", "expect_body", "rstring"], "expect_contains"),
    (&["set_header", "http_headers", "hdr"], "headers"),
    (&["http_host", "hostname", "vhost"], "host"),
    (&["query", "payload", "tcp_send"], "send"),
    (&["threads", "nbthread"], "workers"),
    (&["level", "debug", "verbose"], "trace"),
    (&["file", "output", "target"], "to"),
    (&["dir", "path", "socket"], "directory"),
];

/// The same of what belongs in a service's table of HTTP.
const OF_HTTP: &[(&[&str], &str)] = &[
    (&["client_header_timeout", "header_timeout", "timeout_http_request", "timeout http-request"], "head_timeout"),
    (&["client_body_timeout", "timeout_client", "timeout client"], "body_timeout"),
    (
        &["idle_timeout", "keepalive_timeout", "timeout_http_keep_alive", "timeout http-keep-alive"],
        "keep_alive_timeout",
    ),
    (&["proxy_read_timeout", "timeout_server", "timeout server", "server_timeout"], "read_timeout"),
    (&["response_timeout", "response_header_timeout", "ttfb_timeout"], "first_byte_timeout"),
    (&["timeout", "total_timeout"], "request_timeout"),
    (&["timeout_tunnel", "timeout tunnel", "websocket_timeout"], "tunnel_timeout"),
    (&["large_client_header_buffers", "client_header_buffer_size", "max_header_size", "max_header_bytes"], "max_head"),
    (&["max_headers", "max_header_count"], "max_fields"),
    (&["client_max_body_size", "max_body_size", "max_request_body", "body_limit", "max_size"], "max_body"),
    (&["maxconn", "max_conn", "worker_connections", "connections"], "max_connections"),
    (&["keepalive", "keepalive_connections", "keep_alive", "http_reuse", "pool_size"], "keep"),
    (&["timeout_queue", "timeout queue", "maxqueue", "queue_length"], "queue"),
    (&["retries", "proxy_next_upstream", "retry_on", "redispatch"], "retry"),
    (&["forwardfor", "xff", "x_forwarded_for", "x-forwarded-for"], "x_forwarded"),
    (&["server_name", "proxy_host", "host_header"], "host"),
    (&["set_real_ip_from", "real_ip", "trusted", "trusted_networks", "proxies"], "trusted_proxies"),
    (&["proxy_set_header", "headers", "header", "set_headers", "header_up", "http-request"], "request_headers"),
    (&["add_header", "response_headers", "header_down", "http-response"], "answer_headers"),
    (&["hash", "hash_on", "hash_key", "affinity"], "key"),
    (&["cookie", "stick", "sticky_cookie", "session_affinity", "stickiness"], "sticky"),
    (&["error_page", "errorfile", "errorpage", "sorry_page", "maintenance_page"], "unavailable_page"),
    (&["log", "accesslog", "log_requests", "httplog"], "access_log"),
];

/// What a key of another program is called in a service's table of HTTP.
fn of_http(key: &str) -> Option<&'static str> {
    OF_HTTP.iter().find(|(theirs, _)| theirs.contains(&key)).map(|(_, ours)| *ours)
}

/// What to write in place of a key that is none of these.
pub(super) fn advice(key: &str, known: &[Key]) -> String {
    let names = || known.iter().map(|key| key.name);
    let in_another_program =
        |(theirs, ours): &&(&[&str], &str)| theirs.contains(&key) && names().any(|name| name == *ours);
    if key == "port" && names().any(|name| name == "name") {
        return "it goes behind the name: name = \"host:port\"".to_owned();
    }
    if let Some((_, ours)) = ELSEWHERE.iter().find(in_another_program) {
        return format!("did you mean '{ours}'?");
    }
    let is_there = |ours: &&str| names().any(|name| name == *ours);
    if let Some(ours) = of_http(key).filter(is_there) {
        return format!("did you mean '{ours}'?");
    }
    let part = |name: &&str| key.len() > 3 && (name.contains(key) || key.contains(*name) && name.len() > 3);
    let home = keys::home(key);
    match (nearest(key, names()), names().find(part)) {
        (Some(near), _) => match home {
            Some(home) => format!("did you mean '{near}'? ('{key}' belongs in {home})"),
            None => format!("did you mean '{near}'?"),
        },
        (None, Some(part)) => format!("did you mean '{part}'?"),
        (None, None) => match home {
            Some(home) => format!("it belongs in {home}"),
            None if names().any(|name| name == "http")
                && names().any(|name| name == "pool")
                && of_http(key).is_some() =>
            {
                format!("did you mean '{}' in [services.NAME.http]?", of_http(key).unwrap_or_default())
            }
            None => format!("expected one of {}", names().collect::<Vec<_>>().join(", ")),
        },
    }
}

/// Why a word is no backend, where its parts would be told of one by one, or taken for others.
pub(super) fn no_backend(word: &str) -> Option<String> {
    match word {
        "" => Some("expected a backend, such as \"alpha:80\", not nothing".to_owned()),
        _ if word.contains("://") => {
            Some(format!("'{word}' is a URL, and a backend is host[:port[:max[:weight]]], such as alpha:80"))
        }
        _ if word.contains(char::is_whitespace) => {
            Some(format!("'{word}' is more than one word: each backend has quotes of its own"))
        }
        _ if word.contains(',') => Some(format!("'{word}' has a comma in it, and backends have spaces between them")),
        _ => None,
    }
}

/// What is strange about a word that can be a backend.
pub(super) fn strange_backend(word: &str) -> Option<String> {
    // Of the networks that backends are in: "a::256" and "db1::64" are hosts with limits.
    let is_meant = |ip: Ipv6Addr| matches!(ip.segments()[0], 0x2000..0x4000 | 0xfc00..0xfe00 | 0xfe80..0xfec0);
    if word.parse().is_ok_and(is_meant) {
        return Some(format!("'{word}' is read as host[:port[:max]]: an IPv6 address goes in brackets, [{word}]"));
    }
    let backend = word.parse::<BackendConfig>().ok()?;
    let (host, _) = backend.host_and_port();
    let is_of_none = |letter: &char| letter.is_ascii_punctuation() && !"-._".contains(*letter);
    // In brackets there are colons, and a zone behind '%'.
    let wrong = host.chars().find(is_of_none).filter(|_| !word.starts_with('['))?;
    Some(format!("'{word}' is taken for a host, and none has a '{wrong}' in its name"))
}
