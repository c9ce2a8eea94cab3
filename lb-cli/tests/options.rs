//! What a command line is understood to mean, and the pages made from the same definition.

mod support;

use std::{collections::BTreeSet, fs};

use support::{Backend, Running, ask, bare_command, command, fresh_address, fresh_ip, run};

fn printed(args: &[&str]) -> toml::Table {
    let said = run(&mut bare_command(&[&["--print-config"], args].concat()));
    assert_eq!((said.status.code(), said.stderr.len()), (Some(0), 0), "{args:?}");
    String::from_utf8(said.stdout).expect("text").parse().expect("TOML")
}

#[test]
fn every_setting_is_printed_with_its_unit() {
    let read = printed(&[
        "-6fHat1.5",
        "-T90",
        "--race=off",
        "--grace",
        "0",
        "--workers",
        "3",
        "--log-format=json",
        "--select=random",
        "-b",
        "::1",
        "8080",
        "127.0.0.1:80:5",
        "[::1]::7:3",
        "%",
        "127.0.0.1",
        "!",
        "127.0.0.2",
    ]);
    let (service, pool) = (&read["services"]["balance"], &read["pools"]["balance"]);
    assert_eq!(service["listen"].as_array().unwrap()[..], ["[::1]:8080".into()]);
    assert_eq!((service["role"].as_str(), service["pool"].as_str()), (Some("tcp"), Some("balance")));
    assert_eq!(read["process"]["workers"].as_integer(), Some(3));
    assert_eq!(read["process"]["resolve_every"].as_str(), Some("30s"));
    assert_eq!(read["defaults"]["connect_timeout"].as_str(), Some("1s 500ms"));
    assert_eq!(read["defaults"]["race"].as_str(), Some("off"));
    assert_eq!(read["defaults"]["idle_timeout"].as_str(), Some("1m 30s"));
    assert_eq!(read["defaults"]["grace"].as_str(), Some("none"));
    assert_eq!(read["log"]["format"].as_str(), Some("json"));
    assert_eq!((pool["autodisable"].as_str(), pool["start"].as_str()), (Some("until enabled"), Some("first")));
    let groups = pool["groups"].as_array().unwrap();
    assert_eq!(groups.len(), 3);
    assert_eq!((groups[0]["selector"].as_str(), groups[0]["spill"].as_bool()), (Some("hash"), Some(true)));
    assert_eq!(groups[1]["selector"].as_str(), Some("random"));
    assert_eq!(groups[0]["backends"].as_array().unwrap()[..], ["127.0.0.1:80:5".into(), "[::1]::7:3".into()]);
}

#[test]
fn groups_that_are_made_later_are_printed_too() {
    let read = printed(&["-H", "--select", "hash", "9000"]);
    let pool = &read["pools"]["balance"];
    assert_eq!((pool["selector"].as_str(), pool["spill"].as_bool()), (Some("hash"), Some(true)));
    let read = printed(&["9000", "127.0.0.1:9"]);
    let pool = &read["pools"]["balance"];
    assert_eq!((pool["selector"].as_str(), pool.get("spill")), (Some("round-robin"), None));
}

/// The comments that a printed file begins with.
fn remarks(args: &[&str]) -> Vec<String> {
    let said = run(&mut bare_command(args));
    assert_eq!((said.status.code(), said.stderr.len()), (Some(0), 0), "{args:?}");
    let text = String::from_utf8(said.stdout).expect("text");
    text.lines().take_while(|line| line.starts_with("# ")).map(str::to_owned).collect()
}

#[test]
fn what_is_printed_begins_with_what_it_is_from_and_how_to_serve_it() {
    assert_eq!(
        remarks(&["--print-config", "-m", "command=it's", "9000", "127.0.0.1", "!", "[::1]"]),
        [r"# lb run --daemon --config FILE does what this does: lb -m 'command=it'\''s' 9000 127.0.0.1 ! [::1]"]
    );
    // A line break would be the end of the comment.
    let lines = remarks(&["-f", "--print-config", "-m", "command=a\ndump = true", "9000"]);
    let expected = r"# lb run --config FILE does what this does: lb -f -m $'command=a\u000adump = true' 9000";
    assert_eq!(lines, [expected]);
}

#[test]
fn what_names_stand_for_and_how_control_knows_it_are_remarks() {
    let lines = remarks(&["-f", "--print-config", "9000", "localhost:80", "localhost:80", "127.0.0.1"]);
    assert!(lines.len() == 2 && lines[1].starts_with("# At the moment localhost:80 is "), "{lines:?}");
    let lines = remarks(&["-6f", "--print-config", "9000"]);
    assert_eq!(lines[1..], ["# To -i and -c it is the lb at -b ::."]);
    let lines = remarks(&["-f", "--print-config", "-b", "0::1", "9000"]);
    assert_eq!(lines[1..], ["# To -i and -c it is the lb at -b ::1."]);
}

#[test]
fn options_mean_the_same_together_apart_touching_their_values_and_behind_operands() {
    let apart: Vec<&str> = "-f -a -H -M -d -p -6 -t 2 -T 60 -b ::1 -B ::1 -k 10,5,3 -K 1,2,3 -m connect:interval=5 \
        --send-proxy v2 --accept-proxy ::1/128 --resolve-every 7 --autodisable-for 9 --control-dir /nowhere --user nobody \
        -- 8080 [::1]:1 % ::2"
        .split_whitespace()
        .collect();
    let apart = [&apart[..apart.len() - 1], &["[::1]:2"]].concat();
    let touching: Vec<&str> = "-fadMpH6t2 8080 -T60 -b::1 [::1]:1 -k10,5,3 -B::1 --resolve-every=7 % --control-dir=/nowhere \
        -mconnect:interval=5 --accept-proxy=::1/128 -K1,2,3 --send-proxy=v2 --autodisable-for=9 --user=nobody -- [::1]:2"
        .split_whitespace()
        .collect();
    let read = printed(&apart);
    assert_eq!(read, printed(&touching));
    for (table, key, value) in [
        ("defaults", "connect_timeout", "2s"),
        ("defaults", "idle_timeout", "1m"),
        ("defaults", "source", "::1"),
        ("defaults", "accept_proxy", "::1/128"),
        ("defaults", "send_proxy", "v2"),
        ("defaults", "client_keepalive", "10,5,3"),
        ("defaults", "backend_keepalive", "1,2,3"),
        ("process", "resolve_every", "7s"),
        ("process", "user", "nobody"),
        ("control", "directory", "/nowhere"),
    ] {
        assert_eq!(read[table][key].as_str(), Some(value), "{table}.{key}");
    }
    let pool = &read["pools"]["balance"];
    let (probes, ejection) = (&pool["probes"], &pool["ejection"]);
    assert_eq!((probes["interval"].as_str(), probes["initial"].as_str()), (Some("5s"), Some("up")));
    assert_eq!(probes["checks"].as_array().unwrap()[0]["connect"].as_bool(), Some(true));
    assert_eq!((ejection["period"].as_str(), ejection["longest"].as_str()), (Some("9s"), Some("9s")));
    assert_eq!(pool["autodisable"].as_str(), Some("off"), "--autodisable-for takes its place");
    assert_eq!((read["log"]["trace"].as_bool(), read["log"]["dump"].as_bool()), (Some(true), Some(true)));
}

#[test]
fn a_relative_directory_is_that_of_where_it_was_said() {
    let mut command = bare_command(&["--print-config", "--control-dir", "run/lb", "9000"]);
    let said = run(command.current_dir(std::env::temp_dir()));
    let read: toml::Table = String::from_utf8(said.stdout).unwrap().parse().unwrap();
    assert_eq!(read["control"]["directory"].as_str(), std::env::temp_dir().join("run/lb").to_str());
}

#[test]
fn there_may_be_more_than_63_words_and_16_groups() {
    let alpha = Backend::start("alpha");
    // Backends that refuse, in 39 groups before the one that serves.
    let gone = Backend::start("gone").word();
    let mut words: Vec<&str> = (0..39).flat_map(|_| [gone.as_str(), gone.as_str(), "!"]).collect();
    let alpha = alpha.word();
    words.push(&alpha);
    let (_lb, front) = Running::balancing(&[], &words);
    assert_eq!(ask(front), "alpha");
}

#[test]
fn nothing_is_started_to_print_it_and_what_is_wrong_is_said() {
    let alpha = Backend::start("alpha");
    let (_lb, front) = Running::balancing(&[], &[&alpha.word()]);
    // The port is in use.
    let read = printed(&["-b", &front.ip().to_string(), &front.port().to_string(), &alpha.word()]);
    assert_eq!(read["services"]["balance"]["listen"].as_array().unwrap()[..], [front.to_string().into()]);
    assert_eq!(ask(front), "alpha");
    let wrong = run(&mut command(&["--print-config", "9000", "a:99999"]));
    assert_eq!((wrong.status.code(), wrong.stdout.len()), (Some(65), 0));
    assert!(wrong.stderr.starts_with(b"lb: a:99999: port '99999'"));
}

fn page(name: &str) -> String {
    let said = run(&mut bare_command(&["--generate", name]));
    assert_eq!((said.status.code(), said.stderr.len()), (Some(0), 0), "{name}");
    String::from_utf8(said.stdout).expect("text")
}

/// All long and short options that `--help` lists.
fn options() -> BTreeSet<String> {
    let help = String::from_utf8(run(&mut command(&["--help"])).stdout).expect("text");
    let lines = help.lines().map(str::trim_start).filter(|line| line.starts_with('-'));
    let words =
        lines.flat_map(|line| line.split([' ', ',', '[']).take_while(|word| word.is_empty() || word.starts_with('-')));
    let options: BTreeSet<String> = words.filter(|word| !word.is_empty()).map(str::to_owned).collect();
    assert!(options.len() > 30 && options.contains("--autodisable-for") && options.contains("-K"), "{options:?}");
    options
}

#[test]
fn the_manual_page_has_every_option_and_what_else_is_looked_for() {
    let page = page("man").replace("\\-", "-");
    for option in options() {
        assert!(page.contains(&format!("\\fB{option}\\fR")), "{option} is missing");
    }
    for section in ["NAME", "SYNOPSIS", "OPTIONS", "EXAMPLES", "\"EXIT STATUS\"", "SIGNALS", "ENVIRONMENT", "FILES"] {
        assert!(page.contains(&format!(".SH {section}\n")), "{section} is missing");
    }
}

#[test]
fn completions_know_every_option() {
    let scripts = ["bash", "zsh", "fish"].map(page);
    let short = |option: &String| (option.len() == 2).then(|| option[1..].to_owned());
    for letter in options().iter().filter_map(short) {
        let [bash, zsh, fish] = &scripts;
        assert!(bash.replace('"', " ").contains(&format!(" -{letter} ")), "bash: {letter} is missing");
        // Some exclude others: '(-c)-i[...'
        let begins = ["'", ")"].map(|before| format!("{before}-{letter}"));
        assert!(begins.iter().any(|begin| zsh.contains(begin)), "zsh: {letter} is missing");
        assert!(fish.contains(&format!(" -s {letter} ")), "fish: {letter} is missing");
    }
    for option in options().iter().filter_map(|option| option.strip_prefix("--")) {
        for script in &scripts {
            assert!(script.contains(option), "{option} is missing");
        }
    }
}

#[test]
fn help_has_headings_and_a_value_that_is_none_of_a_few_is_named_with_them() {
    let help = String::from_utf8(run(&mut command(&["--help"])).stdout).unwrap();
    for heading in ["Clients:", "Backends:", "Health of backends:", "Sessions:", "Process:", "Logs:", "HTTP:"] {
        assert!(help.lines().any(|line| line == heading), "{heading} is missing");
    }
    for (args, line) in [
        (["--log-format", "xml"], "lb: --log-format 'xml': not one of human, json; see lb --help\n"),
        (
            ["--send-proxy", "v3"],
            "lb: --send-proxy 'v3': unknown version 'v3' of the PROXY protocol: v1 or v2; see lb --help\n",
        ),
        (["--user", "a:b:c"], "lb: --user 'a:b:c': not USER or USER:GROUP; see lb --help\n"),
        (["--generate", "pdf"], "lb: --generate 'pdf': not one of man, bash, zsh, fish; see lb --help\n"),
    ] {
        let said = run(&mut bare_command(&[&args[..], &["9000"]].concat()));
        assert_eq!((said.status.code(), String::from_utf8(said.stderr).unwrap().as_str()), (Some(64), line));
    }
}

#[test]
fn an_option_that_changes_less_than_it_seems_is_said_to() {
    let front = fresh_address();
    let (ip, port) = (front.ip().to_string(), front.port().to_string());
    let lb = Running::start(&["-aMH", "-b", &ip, &port, "127.0.0.1:1"]);
    lb.line_with("note: -H changes nothing");
    lb.line_with("note: -M changes nothing");
    lb.line_with("note: with -a alone a backend that fails once stays out");
    lb.line_with("listening on");
}

#[test]
fn every_thread_belongs_to_the_user_that_was_asked_for_and_no_right_is_left() {
    if !rustix::process::geteuid().is_root() {
        let said = run(&mut command(&["--user", "nobody", "9000"]));
        assert_eq!(said.status.code(), Some(71));
        assert!(said.stderr.starts_with(b"lb: --user: only root can become another user: "));
        return println!("skipped: only root can become somebody else");
    }
    let alpha = Backend::start("alpha");
    let ip = fresh_ip().to_string();
    for (user, uid, gid, groups) in [
        ("4321:8765", "4321", "8765", Some("8765")),
        ("nobody", "65534", "65534", None),
        ("65534:7", "65534", "7", None),
    ] {
        // A port that others may not have.
        let lb = Running::lb(&["--user", user, "--workers", "3", "-b", &ip, "817", &alpha.word()]);
        assert_eq!(ask(format!("{ip}:817").parse().unwrap()), "alpha");
        let mut threads = 0;
        for thread in fs::read_dir(format!("/proc/{}/task", lb.id())).unwrap() {
            let status = fs::read_to_string(thread.unwrap().path().join("status")).unwrap();
            let field = |name: &str| {
                let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or("missing");
                line.split_whitespace().map(str::to_owned).collect::<Vec<_>>()
            };
            assert_eq!((field("Uid:"), field("Gid:")), (vec![uid.to_owned(); 4], vec![gid.to_owned(); 4]), "{user}");
            for set in ["CapInh:", "CapPrm:", "CapEff:", "CapAmb:"] {
                assert_eq!(field(set), ["0000000000000000"], "{user}: {set}");
            }
            assert!(groups.is_none_or(|groups| field("Groups:") == [groups]), "{user}: {:?}", field("Groups:"));
            assert!(!field("Groups:").contains(&"0".to_owned()), "{user}");
            threads += 1;
        }
        assert!(threads >= 4, "{threads} threads");
    }
}

#[test]
fn a_user_that_is_unknown_or_has_no_group_is_named() {
    if !rustix::process::geteuid().is_root() {
        return println!("skipped: only root can become somebody else");
    }
    for (user, line) in [
        ("no-such-user", "lb: --user: unknown user 'no-such-user'\n"),
        ("nobody:no-such-group", "lb: --user: unknown group 'no-such-group'\n"),
        ("4321", "lb: --user: user 4321 has no group of its own: name one, 4321:GROUP\n"),
    ] {
        let said = run(&mut command(&["--user", user, "-b", "127.0.0.1", "9000"]));
        assert_eq!((said.status.code(), String::from_utf8(said.stderr).unwrap().as_str()), (Some(71), line));
    }
}
