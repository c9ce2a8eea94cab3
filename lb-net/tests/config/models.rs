//! Models for properties: any that there can be, by chance.

use std::{num::NonZeroU16, time::Duration};

use lb_core::{
    BackendConfig, Config, GroupConfig, SelectorKind, Start, Status,
    health::{Eject, RequestFailures},
};
use lb_net::{
    config::{
        Control, ControlHttp, Http, Initial, Listen, Log, LogFormat, LogTo, Model, Name, Pool, Probes, Process,
        Service, Sessions, Time, TokenSource, Workers,
    },
    http,
};
use proptest::{collection::vec, prelude::*, sample::select};

/// Any model.
pub(crate) fn model() -> impl Strategy<Value = Model> {
    let listen = |at: usize| -> Listen {
        format!("{}{}", ["", "127.0.0.1:", "[::1]:", "name:"][at % 4], 80 + at).parse().unwrap()
    };
    let pools = vec(pool(), 1..3);
    let services = vec((any::<prop::sample::Index>(), sessions(), any::<bool>(), proptest::option::of(http())), 0..4);
    let process = (0_usize..1025, proptest::option::of(time()), any::<bool>(), select(vec![0, 1, 2]), control_http());
    (pools, services, (sessions(), http()), process).prop_map(move |(pools, services, (defaults, http), process)| {
        let (workers, resolve_every, json, to, over_http) = process;
        let mut model = Model::default().with_defaults(defaults.clone()).with_http_defaults(http.clone());
        let count = pools.len();
        for (at, pool) in pools.into_iter().enumerate() {
            model.add_pool(format!("p.{at}").parse().unwrap(), pool).unwrap();
        }
        for (at, (pool, own, inherits, requests)) in services.into_iter().enumerate() {
            let pool: Name = format!("p.{}", pool.index(count)).parse().unwrap();
            let mut own = if inherits { defaults.clone() } else { own };
            if requests.is_some() {
                own.send_proxy = None;
            }
            let service = Service::new(listen(at), pool, own).with_listen(listen(at + 100));
            let requests = requests.map(|requests| if inherits { http.clone() } else { requests });
            let service = requests.map_or(service.clone(), |requests| service.with_http(requests));
            model.add_service(format!("s-{at}").parse().unwrap(), service).unwrap();
        }
        let (mut log, mut control, mut process) = (Log::default(), Control::default(), Process::default());
        (log.to, log.trace, log.dump) = ([LogTo::Auto, LogTo::Stderr, LogTo::Syslog][to], json, to == 1);
        log.format = if json { LogFormat::Json } else { LogFormat::Human };
        control.directory = json.then(|| "/run/\"x\\é".parse().unwrap());
        control.http = over_http;
        (process.workers, process.resolve_every) = (Workers::new(workers), resolve_every);
        process.user = json.then(|| "a:b".parse().unwrap());
        model.with_log(log).with_control(control).with_process(process)
    })
}

/// A model, and one that has some of its parts.
pub(crate) fn two_models() -> impl Strategy<Value = (Model, Model)> {
    (model(), model(), vec(any::<bool>(), 5)).prop_map(|(one, other, own)| {
        let part = |at: usize| if own[at] { &one } else { &other };
        let mut mixed = Model::default().with_defaults(part(0).defaults().clone()).with_log(part(1).log());
        mixed = mixed.with_http_defaults(part(0).http_defaults().clone());
        mixed = mixed.with_control(part(2).control().clone()).with_process(part(3).process().clone());
        for (name, pool) in part(4).pools() {
            mixed.add_pool(name.clone(), pool.clone()).unwrap();
        }
        for (name, service) in one.services() {
            // Not each fits the other's pools.
            let _ = mixed.add_service(name.clone(), service.clone());
        }
        (one, mixed)
    })
}

fn time() -> impl Strategy<Value = Time> {
    (0_u64..9_999_999, 1_u32..1_000_000_000)
        .prop_map(|(seconds, nanos)| Time::new(Duration::new(seconds, nanos)).unwrap())
}

fn backend() -> impl Strategy<Value = BackendConfig> {
    let name = select(vec!["alpha", "alpha:80", "10.0.0.1:8080", "[::1]:80", "[::1]", "b.example:http", "x'y"]);
    let status = select(vec![Status::Enabled, Status::Enabled, Status::Draining, Status::Disabled]);
    (name, proptest::option::of(select(vec![0, 1, 7, u32::MAX])), select(vec![0, 1, 1, 5, u16::MAX]), status).prop_map(
        |(name, limit, weight, status)| {
            let backend = BackendConfig::new(name).with_weight(weight).with_status(status);
            limit.map_or(backend.clone(), |limit| backend.with_limit(limit))
        },
    )
}

fn group() -> impl Strategy<Value = GroupConfig> {
    let backends = vec(backend(), 0..4);
    (select(SelectorKind::ALL.to_vec()), backends).prop_map(|(kind, all)| GroupConfig::new(all).with_selector(kind))
}

fn probes() -> impl Strategy<Value = Probes> {
    let spec = select(vec![
        "connect",
        "connect:timeout=0.3:interval=1",
        r"http=/health?a=b:expect=UP:status=200,300-399:timeout=1.5:interval=0.25:jitter=0.1:rise=2:fall=3",
        r#"http=/:host=[\:\:1]\:80:header=X-\:  é=\: \\:header=X\::contains= "'\:\n:connect:expect=a\nb"#,
        r"connect:send=\r\n\: \\=:contains=\t:timeout=1:connect:send=x",
        r"command=echo a\:b\\c\n'é' %H:pass=0,3,255:timeout=0.000001:connect:noenable",
        "http=/:connect:nodisable:jitter=0.000001",
    ]);
    (spec, any::<bool>())
        .prop_map(|(spec, up)| Probes::new(spec.parse().unwrap(), if up { Initial::Up } else { Initial::Unknown }))
}

fn ejection() -> impl Strategy<Value = Eject> {
    let rule = proptest::option::of((1_u32..9, time()));
    (1_u32.., time(), time(), 1_u8..=100, rule).prop_map(|(failures, one, two, percent, rule)| {
        let (first, longest) = (one.min(two).get(), one.max(two).get());
        let eject = Eject::default().with_connect_failures(failures.try_into().unwrap());
        let eject = eject.with_periods(first, longest).with_most_percent(percent);
        rule.map_or(eject.clone(), |(clients, window)| {
            eject.with_request_failures(RequestFailures::new(clients.try_into().unwrap(), window.get()))
        })
    })
}

fn pool() -> impl Strategy<Value = Pool> {
    let times = proptest::option::of(time());
    let groups = vec(group(), 0..4);
    let health = (proptest::option::of(probes()), proptest::option::of(ejection()));
    (groups, times, health, any::<bool>(), any::<bool>(), 1_u16..).prop_map(
        |(groups, slow, health, first, auto, port)| {
            let mut config = groups.into_iter().fold(Config::default(), Config::with_group);
            config.start = if first { Start::First } else { Start::Random };
            config.slow_start = slow.map(Time::get).unwrap_or_default();
            (config.ejection, config.autodisable) = (health.1, auto);
            let pool = Pool::new(config, health.0, NonZeroU16::new(port)).unwrap();
            pool.with_new_groups(SelectorKind::ALL[usize::from(port) % SelectorKind::ALL.len()], first)
        },
    )
}

fn sessions() -> impl Strategy<Value = Sessions> {
    let times = (time(), proptest::option::of(time()), proptest::option::of(time()), proptest::option::of(time()));
    let keepalive = || proptest::option::of(select(vec!["1,1,1", "60,10,3"]));
    let networks = select(vec!["", "10.0.0.0/8", "10.0.0.0/8,fd00::/8,::1"]);
    let words =
        (networks, proptest::option::of(select(vec!["v1", "v2"])), proptest::option::of(any::<std::net::IpAddr>()));
    (times, keepalive(), keepalive(), words).prop_map(|(times, client, backend, (networks, version, source))| {
        let mut sessions = Sessions::default();
        (sessions.connect_timeout, sessions.race, sessions.idle_timeout, sessions.grace) = times;
        sessions.client_keepalive = client.map(|text| text.parse().unwrap());
        sessions.backend_keepalive = backend.map(|text| text.parse().unwrap());
        sessions.accept_proxy = networks.parse().unwrap_or_default();
        sessions.send_proxy = version.map(|text| text.parse().unwrap());
        sessions.source = source;
        sessions
    })
}

fn http_times() -> impl Strategy<Value = http::Times> {
    let some = vec(time(), 5);
    (some, proptest::option::of(time()), proptest::option::of(time())).prop_map(|(some, request, tunnel)| {
        let mut times = http::Times::default();
        (times.head, times.body, times.idle) = (some[0].get(), some[1].get(), some[2].get());
        (times.first_byte, times.between_reads) = (some[3].get(), some[4].get());
        (times.request, times.tunnel_idle) = (request.map(Time::get), tunnel.map(Time::get));
        times
    })
}

fn http_texts() -> impl Strategy<Value = (http::Settings, Option<http::AccessLogSettings>)> {
    let edit = select(vec!["set X-A: b", "add X-A: \"é\\", "remove X-C", "set X-D: "]);
    let key = select(vec!["client", "uri", "header X-User", "cookie s", "query é"]);
    let sticky = proptest::option::of((select(vec!["lb", "a!b"]), 1_u64..9_999_999));
    let log = proptest::option::of(select(vec!["json stdout", "common stderr", "timings /var/x y\"\\é"]));
    let forward =
        (any::<bool>(), select(vec!["off", "lb", "~1"]), select(vec!["client", "a.example:80", "[::1]", "x_y"]));
    (vec(edit.clone(), 0..3), vec(edit, 0..3), key, sticky, log, forward).prop_map(
        |(request, answer, key, sticky, log, (flag, via, host))| {
            let edits = |all: Vec<&str>| all.into_iter().map(|text| text.parse().unwrap()).collect();
            let mut settings = http::Settings::default();
            (settings.request_edits, settings.answer_edits) = (edits(request), edits(answer));
            settings.key = key.parse().unwrap();
            let sticky =
                sticky.map(|(name, age)| http::Sticky::new(name).unwrap().with_lifetime(Duration::from_secs(age)));
            settings.sticky = sticky;
            (settings.forward.x_forwarded, settings.forward.forwarded) = (flag, !flag);
            settings.forward.via = Some(via.to_owned()).filter(|via| via != "off");
            settings.forward.host = Some(host.to_owned()).filter(|host| host != "client");
            settings.forward.trusted = if flag { "10.0.0.0/8,::1".parse().unwrap() } else { settings.forward.trusted };
            (settings, log.map(|text| text.parse().unwrap()))
        },
    )
}

fn http() -> impl Strategy<Value = Http> {
    let limits = (1024_u32..=1 << 20, 1_u16..=256, proptest::option::of(1_u64..), any::<u32>());
    let keep = (any::<u32>(), time(), proptest::option::of(time()), any::<u32>());
    let rest = (any::<u32>(), time(), 0_u8..=100, any::<u32>(), any::<bool>());
    (http_times(), http_texts(), limits, keep, rest).prop_map(|(times, (mut settings, log), limits, keep, rest)| {
        settings.times = times;
        let most = &mut settings.limits;
        (most.head_bytes, most.fields, most.body_bytes) = (limits.0, limits.1, limits.2);
        most.connections = limits.3.try_into().ok();
        (settings.keep.idle, settings.keep.idle_time) = (keep.0, keep.1.get());
        (settings.keep.age, settings.keep.uses) = (keep.2.map(Time::get), keep.3.try_into().ok());
        (settings.queue.length, settings.queue.time) = (rest.0, rest.1.get());
        let retry = &mut settings.retry;
        (retry.percent, retry.per_second, retry.idempotency_key) = (rest.2, rest.3, rest.4);
        Http::new(settings).unwrap().with_access_log(log).unwrap()
    })
}

fn control_http() -> impl Strategy<Value = Option<ControlHttp>> {
    let address = select(vec!["127.0.0.1:9480", "[::1]:1", "0.0.0.0:9480", "unix:/run/lb/http", "unix:/é\"\\"]);
    let written = "[!-~]{1,40}".prop_map(|text| TokenSource::Written(text.parse().unwrap()));
    let file = "/[a-zé\"\\\\]{0,9}".prop_map(|path| TokenSource::File(path.parse().unwrap()));
    // Not every address goes without a token.
    (address, proptest::option::of(prop_oneof![written, file]))
        .prop_map(|(address, token)| ControlHttp::new(address.parse().unwrap(), token).ok())
}
