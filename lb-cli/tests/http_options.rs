//! What the options of HTTP are understood to mean, and what is said of those that do not go together.

mod support;

use support::{File, bare_command, run};

fn printed(args: &[&str]) -> toml::Table {
    let said = run(&mut bare_command(&[&["--print-config"], args].concat()));
    assert_eq!((said.status.code(), said.stderr.len()), (Some(0), 0), "{args:?}");
    String::from_utf8(said.stdout).expect("text").parse().expect("TOML")
}

#[test]
fn a_service_of_http_is_printed_with_all_that_holds_for_it() {
    let read = printed(&["--http", "8080", "127.0.0.1:80", "127.0.0.2:80", "!", "127.0.0.3"]);
    let (service, pool) = (&read["services"]["balance"], &read["pools"]["balance"]);
    assert_eq!((service["role"].as_str(), pool["selector"].as_str()), (Some("http"), Some("least-loaded")));
    let groups = pool["groups"].as_array().unwrap();
    assert!(groups.iter().all(|group| group["selector"].as_str() == Some("least-loaded")), "{groups:?}");
    let http = &read["defaults"]["http"];
    assert_eq!((http["head_timeout"].as_str(), http["max_body"].as_str()), (Some("10s"), Some("10GiB")));
    assert_eq!((http["access_log"].as_str(), http["sticky"].as_str()), (Some("off"), Some("off")));
    let tcp = printed(&["8080", "127.0.0.1:80"]);
    assert!(tcp["defaults"].get("http").is_none(), "nobody asks for it");
}

#[test]
fn who_chooses_is_as_the_words_say() {
    let selector = |args: &[&str]| {
        let read = printed(&[&["--http"], args, &["8080", "127.0.0.1", "127.0.0.2", "%"]].concat());
        let pool = &read["pools"]["balance"];
        (pool["selector"].as_str().unwrap().to_owned(), pool["groups"][0]["selector"].as_str().unwrap().to_owned())
    };
    assert_eq!(selector(&[]), ("least-loaded".to_owned(), "hash".to_owned()));
    assert_eq!(selector(&["--select", "round-robin"]), ("round-robin".to_owned(), "hash".to_owned()));
}

#[test]
fn every_option_of_http_is_a_key() {
    let words = "--http --max-body 20MiB --head-timeout 1.5 --first-byte-timeout 7 --request-timeout 0 --queue 9 \
        --sticky=site --trusted-proxies 10.0.0.0/8 --access-log /var/log/www.log --access-log-format json -t 3";
    let mut words: Vec<&str> = words.split_whitespace().collect();
    words.extend(["--key", "cookie id", "--request-header", "set X-A: b", "--request-header", "remove X-B"]);
    words.extend(["--answer-header", "add X-C: d", "8080", "127.0.0.1", "%"]);
    let read = printed(&words);
    let http = &read["defaults"]["http"];
    for (key, value) in [
        ("max_body", "20MiB"),
        ("head_timeout", "1s 500ms"),
        ("first_byte_timeout", "7s"),
        ("request_timeout", "never"),
        ("trusted_proxies", "10.0.0.0/8"),
        ("key", "cookie id"),
    ] {
        assert_eq!(http[key].as_str(), Some(value), "{key}");
    }
    assert_eq!(http["queue"]["length"].as_integer(), Some(9));
    assert_eq!((http["sticky"]["cookie"].as_str(), http["sticky"]["lifetime"].as_str()), (Some("site"), Some("1h")));
    assert_eq!(http["access_log"]["to"].as_str(), Some("/var/log/www.log"));
    assert_eq!(http["access_log"]["format"].as_str(), Some("json"));
    assert_eq!(http["request_headers"].as_array().unwrap()[..], ["set X-A: b".into(), "remove X-B".into()]);
    assert_eq!(http["answer_headers"].as_array().unwrap()[..], ["add X-C: d".into()]);
    assert_eq!(read["defaults"]["connect_timeout"].as_str(), Some("3s"));
}

#[test]
fn a_log_on_stdout_stays_in_the_foreground_and_a_file_is_that_of_where_it_was_said() {
    let first = |args: &[&str]| {
        let mut command = bare_command(&[&["--print-config", "--http"], args, &["8080"]].concat());
        let said = run(command.current_dir(std::env::temp_dir()));
        String::from_utf8(said.stdout).unwrap()
    };
    assert!(first(&["--access-log", "-"]).starts_with("# lb run --config FILE"));
    assert!(first(&["--access-log", "off"]).starts_with("# lb run --daemon --config FILE"));
    let file = first(&["--access-log", "www.log"]);
    let path = std::env::temp_dir().join("www.log");
    assert!(file.starts_with("# lb run --daemon") && file.contains(&format!("to = \"{}\"", path.display())), "{file}");
    let sticky = first(&["--sticky"]);
    assert!(sticky.contains("sticky = { cookie = \"lb\", lifetime = \"1h\" }"), "{sticky}");
}

#[test]
fn what_does_not_go_together_is_refused_with_what_to_do() {
    for (args, line) in [
        (
            &["--max-body", "1MiB"][..],
            "lb: --max-body is about HTTP requests, and connections are balanced; add --http\n",
        ),
        (&["--sticky"], "lb: --sticky is about HTTP requests, and connections are balanced; add --http\n"),
        (&["--key", "uri"], "lb: --key is about HTTP requests, and connections are balanced; add --http\n"),
        (&["--http", "--send-proxy", "v1"], "lb: --send-proxy cannot go with --http: "),
        (&["--http", "-p"], "lb: -p cannot go with --http: "),
        (&["--http", "-T", "5"], "lb: -T cannot go with --http: "),
        (&["--http", "--access-log-format", "json"], "lb: --access-log-format changes nothing without --access-log; "),
        (
            &["--http", "--max-body", "10M"],
            "lb: --max-body '10M': '10M' is no size: a number and its unit, such as 10MiB",
        ),
        (&["--http", "--key", "moon"], "lb: --key 'moon': 'moon' is no key: client, uri, "),
        (&["--http", "--sticky=a b"], "lb: --sticky: 'a b' cannot be the name of a cookie"),
        (
            &["--http", "--request-header", "set Host: a"],
            "lb: --request-header 'set Host: a': the field 'Host' is lb's own",
        ),
        (&["--http", "--access-log-format", "xml"], "lb: --access-log-format 'xml': 'xml' is no format: common, "),
        (
            &["--http", "--access-log", "-", "--head-timeout", "0"],
            "lb: --head-timeout '0': not a number of seconds above 0",
        ),
        (&["--http", "--access-log", "/var/log/"], "lb: access_log.to cannot be '/var/log/'"),
    ] {
        let said = run(&mut bare_command(&[args, &["--print-config", "8080"]].concat()));
        let err = String::from_utf8(said.stderr).unwrap();
        assert!(said.status.code() == Some(64) && err.starts_with(line), "{args:?}: {err}");
    }
}

#[test]
fn in_the_background_there_is_no_stdout_for_requests() {
    let file = File::new(
        "[pools.web]\n[services.www]\nlisten = 1\npool = \"web\"\nrole = \"http\"\nhttp.access_log = { to = \"stdout\" }\n",
    );
    let said = run(bare_command(&["run", "--daemon", "--config"]).arg(&file.path));
    let err = String::from_utf8(said.stderr).unwrap();
    assert_eq!(said.status.code(), Some(64));
    assert!(err.contains("access_log.to = \"stdout\" of service 'www' and --daemon: there is no stdout"), "{err}");
}
