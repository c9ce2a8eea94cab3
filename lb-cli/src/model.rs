//! balance's command line as a model of configuration: one pool, and one service over it.

use std::net::IpAddr;

use lb_core::Config;
use lb_net::{
    config::{
        Control, Initial, Listen, Log, LogFormat, Model, Name, Pool, Probes, Process, Service, Sessions, Time, Workers,
    },
    probe::MonitorSpec,
};

use crate::{
    args::Balance,
    failure::{Failure, Status},
    listen::Place,
    log::Format,
};

/// What the pool and the service are called.
const NAME: &str = "balance";

/// What of a command line had to be understood, or looked up, before.
#[derive(Debug)]
pub(crate) struct Understood<'a> {
    pub(crate) place: Place,
    pub(crate) port: u16,
    pub(crate) config: &'a Config,
    pub(crate) monitor: Option<&'a MonitorSpec>,
    pub(crate) source: Option<IpAddr>,
}

/// Everything that a command line asks for but `-f`, `-i`, `-c` and `-M`, which are about this one call.
///
/// # Errors
/// What no model can say.
pub(crate) fn model(args: &Balance, understood: &Understood<'_>) -> Result<Model, Failure> {
    let failed = |error: &dyn std::error::Error| Failure::chain(Status::Usage, error);
    let name: Name = NAME.parse().map_err(|error| failed(&error))?;
    let sessions = sessions(args, understood.source);
    let service = Service::new(listen(args, understood)?, name.clone(), sessions.clone());
    let http = args.http.settings()?;
    let service = if args.http.http { service.with_http(http.clone()) } else { service };
    Model::default()
        .with_defaults(sessions)
        .with_http_defaults(http)
        .with_log(log(args))
        .with_control(control(args)?)
        .with_process(process(args))
        .with_pool(name.clone(), pool(args, understood)?)
        .and_then(|model| model.with_service(name, service))
        .map_err(|error| failed(&error))
}

fn pool(args: &Balance, understood: &Understood<'_>) -> Result<Pool, Failure> {
    // As with balance: a backend is up until a check says otherwise.
    let probes = understood.monitor.map(|spec| Probes::new(spec.clone(), Initial::Up));
    let pool = Pool::new(understood.config.clone(), probes, None);
    let pool = pool.map_err(|error| Failure::chain(Status::Backend, &error))?;
    Ok(pool.with_new_groups(args.selector(), args.hash_failover))
}

/// As `-b` says it, or else by the address that this comes to: with `-6` a name may stand for another one.
fn listen(args: &Balance, understood: &Understood<'_>) -> Result<Listen, Failure> {
    let (place, port) = (understood.place, understood.port);
    let as_typed = args.bind.as_ref().filter(|_| !args.ipv6).and_then(|word| format!("{word}:{port}").parse().ok());
    let text = match place {
        Place::Everywhere { port, ipv6: false } => port.to_string(),
        _ => place.address().to_string(),
    };
    let listen = as_typed.map_or_else(|| text.parse(), Ok);
    listen.map_err(|error| Failure::chain(Status::Usage, &error).about(&text))
}

/// Of services and of checks, which have the timeout and the source.
fn sessions(args: &Balance, source: Option<IpAddr>) -> Sessions {
    let mut sessions = Sessions::default();
    // It is above 0.
    sessions.connect_timeout = Time::new(args.connect_timeout).unwrap_or(sessions.connect_timeout);
    sessions.race = args.race.0.and_then(Time::new);
    sessions.idle_timeout = Time::new(args.idle_timeout);
    sessions.grace = Time::new(args.grace);
    sessions.client_keepalive = args.client_keepalive;
    sessions.backend_keepalive = args.backend_keepalive;
    sessions.accept_proxy = args.accept_proxy.clone().unwrap_or_default();
    sessions.send_proxy = args.send_proxy;
    sessions.source = source;
    sessions
}

fn log(args: &Balance) -> Log {
    let mut log = Log::default();
    log.format = if args.log_format == Format::Json { LogFormat::Json } else { LogFormat::Human };
    (log.trace, log.dump) = (args.trace, args.dump);
    log
}

fn control(args: &Balance) -> Result<Control, Failure> {
    let mut control = Control::default();
    if let Some(path) = &args.control_dir {
        // It is absolute.
        let known = path.to_str().and_then(|path| path.parse().ok());
        let wrong = || Failure::new(Status::Usage, "--control-dir: expected a path without control characters");
        control.directory = Some(known.ok_or_else(wrong)?);
    }
    Ok(control)
}

fn process(args: &Balance) -> Process {
    let mut process = Process::default();
    process.user = args.user.clone();
    process.workers = args.workers.and_then(|workers| Workers::new(workers.get()));
    process.resolve_every = Time::new(args.resolve_every);
    process
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;

    use lb_net::config::parse;
    use proptest::{prelude::*, sample::select};

    use super::*;
    use crate::{
        args::{self, Command},
        plan::Plan,
        print_config,
    };

    fn printed(words: &[&str]) -> (Model, String) {
        let all = ["lb"].iter().chain(words).map(OsString::from);
        let Ok(Command::Balance(args)) = args::parse(all) else { panic!("{words:?}") };
        let plan = Plan::new(&args).unwrap_or_else(|failure| panic!("{words:?}: {failure:?}"));
        let words = words.iter().map(|word| (*word).to_owned());
        let text = print_config::text(words, &args, &plan).unwrap();
        (plan.model, text)
    }

    /// What a command line comes to as a file.
    fn read_back(words: &[&str]) -> lb_net::config::Loaded {
        let (model, text) = printed(words);
        let loaded = parse(&text).unwrap_or_else(|problems| panic!("{words:?}\n{text}\n{problems}"));
        assert_eq!(loaded.model, model, "{words:?}\n{text}");
        loaded
    }

    #[test]
    fn usual_command_lines_are_files_without_a_warning() {
        for line in [
            "80 127.0.0.1",
            "-f 80 127.0.0.1::256 ! 127.0.0.2::64 ! 127.0.0.3",
            "80 127.0.0.1 127.0.0.2 127.0.0.3 %",
            "-H 80 127.0.0.1 127.0.0.2 % 127.0.0.3 % 127.0.0.4",
            "-b 127.0.0.1 8080 [2001:db8::7]:80",
            "-b localhost 8080 localhost:80",
            "-6 8080 [::1]:80",
            "--select least-loaded 80 127.0.0.1:::3 127.0.0.2",
            "-m connect:interval=5 80 127.0.0.1 127.0.0.2",
            "-a -m http=/up:expect=UP 80 127.0.0.1 127.0.0.2",
            "--autodisable-for 10 80 127.0.0.1 127.0.0.2",
            "-t1.5 -T90 --race off --grace 0 --resolve-every 0 80 127.0.0.1",
            "-k 60,10,3 -K 1,2,3 --send-proxy v2 --accept-proxy 10.0.0.0/8,::1 -B 127.0.0.1 80 127.0.0.1",
            "--http 80 127.0.0.1 127.0.0.2",
            "--http -f --select round-robin --max-body 1MiB --sticky=x --queue 7 80 127.0.0.1",
            "--http --key uri --trusted-proxies 10.0.0.0/8 --access-log /var/log/lb/www.log 80 127.0.0.1 %",
            "-dp --log-format json --workers 3 --user root --control-dir /run/other 80 127.0.0.1",
        ] {
            let words: Vec<&str> = line.split(' ').collect();
            assert_eq!(read_back(&words).warnings, [], "{line}");
        }
    }

    #[test]
    fn where_it_listens_is_as_it_was_said_or_what_that_comes_to() {
        for (line, listen) in [
            ("8080", "8080"),
            ("-6 80", "[::]:80"),
            ("-b 127.0.0.1 80", "127.0.0.1:80"),
            ("-b localhost 80", "localhost:80"),
            ("-b [::1] 80", "[::1]:80"),
            ("-b 0:0::1 80", "[::1]:80"),
            ("-6 -b ::1 80", "[::1]:80"),
            ("-b [127.0.0.1] 80", "127.0.0.1:80"),
        ] {
            let words: Vec<&str> = line.split(' ').collect();
            let (model, _) = printed(&words);
            let places: Vec<String> = model.services()[NAME].listen().iter().map(ToString::to_string).collect();
            assert_eq!(places, [listen], "{line}");
        }
    }

    #[test]
    fn a_port_by_name_is_its_number_and_that_of_a_backend_stays_as_it_was_said() {
        if lb_net::resolve::port("http").is_err() {
            return println!("skipped: this system knows no services");
        }
        let model = read_back(&["http", "127.0.0.1:http", "127.0.0.2"]).model;
        let names: Vec<&str> = model.pools()[NAME].config().backends().map(|(_, _, one)| one.name.as_str()).collect();
        assert_eq!((model.port_of(NAME), &names[..]), (Some(80), &["127.0.0.1:http", "127.0.0.2"][..]));
    }

    /// Options that may be there, each with all that it may say.
    fn option() -> impl Strategy<Value = Vec<&'static str>> {
        let options: [&[&str]; 38] = [
            &["-a"],
            &["-H"],
            &["-d"],
            &["-p"],
            &["-f"],
            &["-M"],
            &["--http"],
            &["--max-body", "none", "1B", "20MiB"],
            &["--head-timeout", "0.5", "10"],
            &["--first-byte-timeout", "1", "3600"],
            &["--request-timeout", "0", "7"],
            &["--queue", "0", "4294967295"],
            &["--key", "uri", "cookie a", "query b"],
            &["--sticky"],
            &["--sticky=site"],
            &["--trusted-proxies", "10.0.0.0/8,::1"],
            &["--request-header", "set X-A: \"b\"", "remove X-B"],
            &["--access-log", "off", "-", "/var/log/x y", "relative"],
            &["-6"],
            &["-b", "127.0.0.1", "::1", "localhost"],
            &["-B", "127.0.0.1", "127.0.0.2"],
            &["-t", "0.000001", "0.3", "5", "3153600000"],
            &["-T", "0", "0.1", "90"],
            &["-k", "60,10,3"],
            &["-K", "1,1,1"],
            &["--race", "off", "1", "4294967295"],
            &["--grace", "0", "30", "1e9"],
            &["--resolve-every", "0", "7.25"],
            &["--autodisable-for", "0.5", "1000", "3153600000"],
            &["--select", "round-robin", "least-loaded", "peak-ewma", "random", "hash", "bucket-fill"],
            &["--workers", "1", "1024"],
            &["--send-proxy", "v1", "v2"],
            &["--accept-proxy", "0.0.0.0/0", "10.0.0.0/8,fd00::/8,::ffff:192.0.2.1"],
            &["--log-format", "human", "json"],
            &["--user", "root", "0:0"],
            &["--control-dir", "/run/lb", "run/o'ther", "/run/\"é"],
            &["-m", "connect", "connect:timeout=0.3:interval=1:noenable", "http=/\"\\:?'=x:expect=U P:jitter=0.1"],
            &[
                "-m",
                "command=test '%H' != \\:\\:\\\\:pass=0,3:timeout=0.001:rise=2:fall=3:nodisable",
                "connect:connect",
            ],
        ];
        (select(options.to_vec()), any::<prop::sample::Index>()).prop_map(|(option, value)| match option {
            [name] => vec![*name],
            [name, values @ ..] => vec![*name, values[value.index(values.len())]],
            [] => Vec::new(),
        })
    }

    fn backend() -> impl Strategy<Value = &'static str> {
        let words = ["127.0.0.1", "127.0.0.2:80", "[::1]:443:7", "127.0.0.3::0:0", "[::1]:::9", "127.0.0.1:81:4:65535"];
        select(words.to_vec())
    }

    proptest! {
        #[test]
        fn every_command_line_is_read_back_from_its_file(
            options in proptest::collection::vec(option(), 0..8),
            groups in proptest::collection::vec((proptest::collection::vec(backend(), 1..4), any::<bool>()), 0..4),
            bound in any::<bool>(),
        ) {
            let mut words: Vec<&str> = options.concat();
            // -6 wants an address of its family, or none.
            if words.contains(&"-6") && (bound || words.contains(&"-b")) {
                words.extend(["-b", "::1"]);
            }
            // What is of one role only; the others have options that hold for both.
            let of_tcp = ["-T", "-p", "--send-proxy"];
            let of_http = ["--max-body", "--head-timeout", "--first-byte-timeout", "--request-timeout", "--queue", "--key",
                "--trusted-proxies", "--request-header", "--access-log"];
            let takes_none = ["-p", "--sticky", "--sticky=site"];
            let is_http = words.contains(&"--http");
            let mut kept = Vec::new();
            let mut rest = words.into_iter();
            while let Some(word) = rest.next() {
                let is_of_other = if is_http { of_tcp.contains(&word) } else { of_http.contains(&word) || word.starts_with("--sticky") };
                match is_of_other {
                    true if takes_none.contains(&word) => {}
                    true => drop(rest.next()),
                    false => kept.push(word),
                }
            }
            let mut words = kept;
            words.push("8080");
            for (backends, hashes) in groups {
                words.extend(backends);
                words.push(if hashes { "%" } else { "!" });
            }
            read_back(&words);
        }
    }
}
