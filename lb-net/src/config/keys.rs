//! Every key: what it takes and what it is for. The reader knows no other, and the schema is made of them.

/// What may be written behind a key.
#[derive(Clone, Copy, Debug)]
pub(super) enum Takes {
    Flag,
    /// From, to.
    Number(u64, u64),
    /// From 0 to 1.
    Fraction,
    Text,
    /// A time, or this word.
    Time(Option<&'static str>),
    /// A size, or this word.
    Size(Option<&'static str>),
    /// One of these words.
    Choice(&'static [&'static str]),
    /// A number or this word.
    NumberOr(u64, u64, &'static str),
    /// Places to listen: one, or a list.
    Places,
    /// Networks: one, a list, or "off".
    Networks,
    /// Texts: one, or a list.
    Texts,
    /// Numbers: one, or a list.
    Codes,
    /// A table with these keys.
    Table(&'static [Key]),
    /// The same, or this word.
    TableOr(&'static [Key], &'static str),
    /// Tables with these keys, by names of one's own.
    Named(&'static [Key]),
    /// A list of tables with these keys.
    Tables(&'static [Key]),
    /// The same, or balance's words.
    TablesOrText(&'static [Key]),
    /// The same, each of which may be text.
    Backends(&'static [Key]),
}

/// One key.
#[derive(Clone, Copy, Debug)]
pub(super) struct Key {
    pub(super) name: &'static str,
    pub(super) takes: Takes,
    /// For whoever writes it.
    pub(super) what: &'static str,
}

const fn key(name: &'static str, takes: Takes, what: &'static str) -> Key {
    Key { name, takes, what }
}

use Takes::{
    Backends, Choice, Codes, Flag, Fraction, Named, Number, NumberOr, Places, Size, Table, TableOr, Tables,
    TablesOrText, Text, Texts, Time,
};

pub(super) const SELECTORS: &[&str] = &["round-robin", "least-loaded", "peak-ewma", "random", "hash", "bucket-fill"];
pub(super) const ROLES: &[&str] = &["tcp", "http"];
pub(super) const STATUSES: &[&str] = &["enabled", "draining", "disabled"];
const SELECTOR: Takes = Choice(SELECTORS);

/// The file.
pub(super) const FILE: &[Key] = &[
    key("pools", Named(POOL), "pools of backends, by name"),
    key("services", Named(SERVICE), "what clients come to, by name"),
    key("defaults", Table(DEFAULTS), "settings of services that say nothing else"),
    key("log", Table(LOG), "what is told of what happens"),
    key("control", Table(CONTROL), "control of running services (-i, -c)"),
    key("process", Table(PROCESS), "the process as a whole"),
];

/// `[pools.NAME]`
pub(super) const POOL: &[Key] = &[
    key("groups", TablesOrText(GROUP), "backends in groups; or in balance's words: \"alpha::256 ! beta::64 ! spare\""),
    key("port", Number(1, 65535), "the port of backends that have none; else that of the services"),
    key(
        "selector",
        SELECTOR,
        "who chooses in groups that do not say, and in those made at run time; round-robin, \
         or least-loaded where all services are of role http",
    ),
    key("spill", Flag, "in groups that hash another backend takes over when a client's own cannot (-H); false"),
    key("start", Choice(&["random", "first"]), "where turns begin; random"),
    key("slow_start", Time(Some("off")), "for how long a backend that joins or recovers gets a growing share; off"),
    key("autodisable", Choice(&["off", "until enabled"]), "one failed connect takes a backend out (-a); off"),
    key("probes", Table(PROBES), "checks at intervals (-m)"),
    key("ejection", Table(EJECTION), "backends whose traffic fails are set aside for a while"),
];

/// `[[pools.NAME.groups]]`
pub(super) const GROUP: &[Key] = &[
    key("selector", SELECTOR, "who chooses; that of the pool"),
    key("spill", Flag, "with selector \"hash\": another backend takes over when a client's own cannot"),
    key("backends", Backends(BACKEND), "in order; each host[:port[:max[:weight]]] or a table"),
    key(
        "nodes",
        Texts,
        "files by their whole paths, watched; each line a backend: host[:port[:max[:weight]]], # comment",
    ),
    key("dns", Texts, "names that are asked for again and again, each address a backend: name[:port[:max[:weight]]]"),
];

/// A backend.
pub(super) const BACKEND: &[Key] = &[
    key("name", Text, "host[:port]; an IPv6 address goes in brackets"),
    key("limit", NumberOr(0, u32::MAX as u64, "none"), "connections at a time, 0 for none at all; none: any number"),
    key("weight", Number(0, 65535), "its share; 1"),
    key("status", Choice(STATUSES), "what it starts as; enabled"),
];

/// `[pools.NAME.probes]`
pub(super) const PROBES: &[Key] = &[
    key("checks", Tables(CHECK), "made in order; the first that fails decides"),
    key("interval", Time(None), "from the begin of a check to that of the next; 1m"),
    key("jitter", Fraction, "by how much of it an interval is changed at random; 0"),
    key("rise", Number(1, u32::MAX as u64), "checks in a row that bring a backend back; 1"),
    key("fall", Number(1, u32::MAX as u64), "checks in a row that take it out; 1"),
    key("enables", Flag, "whether they bring backends back (noenable); true"),
    key("disables", Flag, "whether they take backends out (nodisable); true"),
    key("initial", Choice(&["unknown", "up"]), "before the first check: no work until it has passed, or up; unknown"),
];

/// A check.
pub(super) const CHECK: &[Key] = &[
    key("connect", Flag, "true: it can be connected to"),
    key("http", Text, "a path: it answers a GET"),
    key("command", Text, "sh -c of it ends well; %H is the address, %P the port"),
    key(
        "timeout",
        Time(None),
        "how long it may take; the connect_timeout of [defaults], but no longer than the interval",
    ),
    key("expect", Text, "with http: the body, such as UP; with connect: the line that is said there; anything"),
    key(
        "expect_contains",
        Text,
        "the same, where this is a part of it that is enough; with connect words such as DOWN mean nothing then; anything",
    ),
    key("status", Text, "with http: the statuses, such as \"200,300-399\"; 200-299"),
    key(
        "headers",
        Texts,
        "with http: more headers of the request, such as \"X-Probe: lb\"; none. Their values are secrets that only dump, \
         dump loaded and --print-config show",
    ),
    key("host", Text, "with http: the host that is asked for; the backend's name and port"),
    key("send", Text, "with connect: what is said there first, such as \"PING\\r\\n\"; nothing"),
    key("pass", Codes, "with command: the exit statuses; 0"),
];

/// `[pools.NAME.ejection]`
pub(super) const EJECTION: &[Key] = &[
    key("connect_failures", Number(1, u32::MAX as u64), "failed connects in a row; 3"),
    key(
        "request_failures",
        Table(REQUEST_FAILURES),
        "failures that clients can provoke count too (role tcp: broken off before the first byte); without it they do not",
    ),
    key("period", Time(None), "for how long the first time, and twice as long each time after; 10s"),
    key("longest", Time(None), "for how long at most; 5m"),
    key("most_percent", Number(1, 100), "how much of a group may be set aside at a time; 50"),
];

/// `request_failures`
pub(super) const REQUEST_FAILURES: &[Key] = &[
    key("clients", Number(1, 8), "of so many distinct clients; 3"),
    key("window", Time(None), "within this time; 10s"),
];

macro_rules! sessions {
    ($($own:expr),*) => {
        &[
            $($own,)*
            key("connect_timeout", Time(None), "how long each attempt to connect may take (-t); 5s"),
            key("race", Time(Some("off")), "how long a backend may be silent before the next one is tried alongside; 250ms"),
            key("idle_timeout", Time(Some("never")), "role tcp: after how long a session in which nothing moves is closed (-T); never"),
            key("grace", Time(Some("none")), "how long sessions may go on after a stop; 30s"),
            key("client_keepalive", Text, "idle seconds, seconds between probes and their number, such as \"60,10,3\" (-k); system"),
            key("backend_keepalive", Text, "the same towards backends (-K); system"),
            key("accept_proxy", Takes::Networks, "from whom the PROXY protocol is believed; off"),
            key("send_proxy", Choice(&["off", "v1", "v2"]), "role tcp: the PROXY protocol towards backends; off"),
            key("source", Text, "the address that connections to backends come from (-B); any"),
        ]
    };
}

/// `[defaults]`
pub(super) const DEFAULTS: &[Key] =
    sessions!(key("http", Table(HTTP), "settings of services of role http that say nothing else"));

/// `[services.NAME]`
pub(super) const SERVICE: &[Key] = sessions!(
    key("role", Choice(ROLES), "what goes to a backend: each connection, or each HTTP request; tcp"),
    key("listen", Places, "a port, or address:port; or a list of them"),
    key("pool", Text, "the name of the pool where its backends are"),
    key("http", Table(HTTP), "role http: how requests are balanced")
);

/// `[services.NAME.http]`
pub(super) const HTTP: &[Key] = &[
    key("head_timeout", Time(None), "how long a request's head may take; 10s"),
    key("body_timeout", Time(None), "how long nothing of a request's body may come; 30s"),
    key("keep_alive_timeout", Time(None), "for how long a client connection is kept without a request; 75s"),
    key("first_byte_timeout", Time(None), "from the end of a request to the first byte of its answer; 60s"),
    key("read_timeout", Time(None), "between two pieces of an answer; 60s"),
    key("request_timeout", Time(Some("never")), "a whole request and its answer; 1day"),
    key("tunnel_timeout", Time(Some("never")), "how long nothing may move in a tunnel (WebSocket); 1h"),
    key("max_head", Size(None), "a request's head, from 1KiB to 1MiB; 64KiB"),
    key("max_fields", Number(1, 256), "fields of a head; 128"),
    key("max_body", Size(Some("none")), "a request's body; 10GiB"),
    key("max_connections", NumberOr(1, u32::MAX as u64, "none"), "client connections at a time; none: any number"),
    key("keep", Table(KEEP), "backend connections between two requests, of each worker"),
    key("queue", Table(QUEUE), "requests that wait while all backends are full"),
    key("retry", Table(RETRY), "requests that are repeated although a backend may have begun with them"),
    key("x_forwarded", Flag, "backends are told the client in X-Forwarded-For, -Proto, -Host and -Port; true"),
    key("forwarded", Flag, "the same in Forwarded (RFC 7239); false"),
    key("via", Text, "our name in Via, both ways, or off; lb"),
    key("host", Text, "the Host that backends see, or client for the one that was asked for; client"),
    key("trusted_proxies", Takes::Networks, "proxies in front of lb, whose word about their clients is kept; off"),
    key(
        "request_headers",
        Texts,
        "changes of each request, such as \"set X-Served-By: lb\"; also add, and remove NAME",
    ),
    key("answer_headers", Texts, "changes of each answer, in the same words"),
    key(
        "key",
        Text,
        "what selector \"hash\" tells clients apart by: client (the address), uri, \"header NAME\", \"cookie NAME\", \
         \"query NAME\"; client",
    ),
    key("sticky", TableOr(STICKY, "off"), "a cookie that brings a client back to its backend; off"),
    key(
        "retry_after",
        Time(Some("off")),
        "what clients are told in Retry-After whose request nobody may take (503), in whole seconds, and up to as many \
         again at random; 5s",
    ),
    key(
        "unavailable_page",
        Text,
        "what they get to see: a file by its whole path, of 1 MiB at most, read when this is; its type is that of its \
         name (html, json, txt); off: a line of text",
    ),
    key("access_log", TableOr(ACCESS_LOG, "off"), "a line for each request; off"),
];

/// `keep`
pub(super) const KEEP: &[Key] = &[
    key("idle", Number(0, u32::MAX as u64), "how many of one backend, 0 for none; 256"),
    key("idle_timeout", Time(None), "for how long without a request; 30s"),
    key("age", Time(Some("never")), "how old one may become; 1h"),
    key("uses", NumberOr(1, u32::MAX as u64, "none"), "how many requests one may have; none: any number"),
];

/// `queue`
pub(super) const QUEUE: &[Key] = &[
    key("length", Number(0, u32::MAX as u64), "how many may wait, 0 for none; 1024"),
    key("timeout", Time(None), "for how long each; 10s"),
];

/// `retry`
pub(super) const RETRY: &[Key] = &[
    key("percent", Number(0, 100), "so many of 100 requests; 20"),
    key("per_second", Number(0, u32::MAX as u64), "and so many each second besides; 10"),
    key("idempotency_key", Flag, "a field Idempotency-Key makes any method one that may be repeated; false"),
];

/// `sticky`
pub(super) const STICKY: &[Key] =
    &[key("cookie", Text, "its name; lb"), key("lifetime", Time(None), "for how long it holds, in whole seconds; 1h")];

/// `access_log`
pub(super) const ACCESS_LOG: &[Key] = &[
    key("to", Text, "stdout, stderr, or a file by its whole path"),
    key("format", Choice(&["common", "combined", "timings", "json"]), "how a request is written; combined"),
];

/// `[log]`
pub(super) const LOG: &[Key] = &[
    key("to", Choice(&["auto", "stderr", "syslog"]), "auto: stderr in the foreground, syslog from the background"),
    key("format", Choice(&["human", "json"]), "a line of text or a JSON object; human"),
    key("trace", Flag, "each decision as well (-d); false"),
    key("dump", Flag, "what passes, on stdout, so only in the foreground (-p); false"),
];

/// `[control]`
pub(super) const CONTROL: &[Key] = &[
    key("directory", Text, "where the control sockets are; /run/lb, or lb in the user's runtime directory"),
    key("http", Text, "where the same is offered over HTTP, and metrics: address:port, or unix:/path; nowhere"),
    key("token", Text, "the secret that HTTP clients show; none, where nobody else can reach it"),
    key("token_file", Text, "the file that the token is in; none"),
];

/// `[process]`
pub(super) const PROCESS: &[Key] = &[
    key("user", Text, "USER[:GROUP] that it becomes once it listens"),
    key("workers", Number(1, 1024), "threads, each for all services; as many as there are cores, at most 4"),
    key("resolve_every", Time(Some("never")), "how often host names are asked for again; 2s"),
];

/// Where else a key of this name belongs.
pub(super) fn home(name: &str) -> Option<&'static str> {
    let homes: [(&str, &[Key]); 17] = [
        ("[services.NAME]", SERVICE),
        ("[pools.NAME]", POOL),
        ("[[pools.NAME.groups]]", GROUP),
        ("backends = [{ ... }]", BACKEND),
        ("[pools.NAME.probes]", PROBES),
        ("checks = [{ ... }]", CHECK),
        ("[pools.NAME.ejection]", EJECTION),
        ("request_failures", REQUEST_FAILURES),
        ("[services.NAME.http]", HTTP),
        ("keep = { ... }", KEEP),
        ("queue = { ... }", QUEUE),
        ("retry = { ... }", RETRY),
        ("sticky = { ... }", STICKY),
        ("access_log = { ... }", ACCESS_LOG),
        ("[log]", LOG),
        ("[control]", CONTROL),
        ("[process]", PROCESS),
    ];
    homes.into_iter().find(|(_, keys)| keys.iter().any(|key| key.name == name)).map(|(home, _)| home)
}
