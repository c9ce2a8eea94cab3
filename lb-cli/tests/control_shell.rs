//! `-i` and `-c` as people and scripts talk to them: banner, prompts, words, prefixes, statuses.
#![allow(clippy::unwrap_used, reason = "only tests call it")]

mod support;

use std::{
    fs::{self, File},
    io::{BufRead as _, BufReader, Read as _, Write as _},
    process::Stdio,
};

use rustix::process::Signal;
use support::{Control, banner, bare_command, run, wait_for};

#[test]
fn a_session_of_balance_fm_that_was_recorded_is_repeated_word_for_word() {
    let (lb, control) = Control::start(&[], &["127.0.0.1:9", "!", "127.0.0.1:10"]);
    let says = |lines: &str, prompts: &str| {
        assert_eq!(control.typed(lines), (Some(0), banner(lb.id()) + prompts), "{:.80}", lines);
    };
    says(
        "group 1\ndisable 0\nhash\nquit\n",
        "balance.fm[0] balance.fm[1] channel 0 disabled\nbalance.fm[1] group 1 set to hash\nbalance.fm[1] ",
    );
    // The end of the input ends it too, on a line of its own; a last line needs no end.
    says("", "balance.fm[0] \n");
    says("\n  \nnonsense\n", "balance.fm[0] balance.fm[0] balance.fm[0] syntax error\nbalance.fm[0] \n");
    says("rr", "balance.fm[0] group 0 set to round robin\nbalance.fm[0] \n");
    says("rr\r\ngroup 1\r\n", "balance.fm[0] group 0 set to round robin\nbalance.fm[0] balance.fm[1] \n");
}

#[test]
fn a_line_may_be_64_kib_long_and_a_longer_one_is_refused_whole() {
    let (lb, control) = Control::start(&[], &["127.0.0.1:9"]);
    for length in [127, 128, 65_535, 65_536, 65_537, 200_000] {
        let said = if length <= 65_535 { "syntax error" } else { "the line is longer than 65536 bytes" };
        let prompts = format!("balance.fm[0] {said}\nbalance.fm[0] group 0 set to round robin\nbalance.fm[0] \n");
        let typed = control.typed(&format!("{}\nrr\n", "x".repeat(length)));
        assert_eq!(typed, (Some(0), banner(lb.id()) + &prompts), "{length}");
    }
    let long = control.says(&"x".repeat(70_000));
    assert_eq!(long, (64, "lb: -c: the line is longer than 65536 bytes\n".to_owned()));
}

#[test]
fn the_shell_answers_before_the_next_line_is_typed() {
    let (_lb, control) = Control::start(&[], &["127.0.0.1:9"]);
    let mut shell = control.shell().spawn().unwrap();
    let (mut input, mut output) = (shell.stdin.take().unwrap(), BufReader::new(shell.stdout.take().unwrap()));
    let mut text = String::new();
    for _ in 0..4 {
        output.read_line(&mut text).unwrap();
    }
    let mut prompt = [0; 14];
    output.read_exact(&mut prompt).unwrap();
    assert_eq!(&prompt, b"balance.fm[0] ");
    for line in ["disable 0", "enable 0"] {
        writeln!(input, "{line}").unwrap();
        text.clear();
        output.read_line(&mut text).unwrap();
        assert_eq!(text, format!("channel 0 {}d\n", &line[..line.len() - 2]));
        output.read_exact(&mut prompt).unwrap();
    }
    drop(input);
    assert!(shell.wait().unwrap().success());
}

#[test]
fn a_shell_reads_a_file_as_it_reads_a_pipe() {
    let (lb, control) = Control::start(&[], &["127.0.0.1:9"]);
    let script = control.directory.join("script");
    fs::write(&script, "disable 0\nenable 0\n").unwrap();
    for (input, prompts) in [
        (script.as_str(), "balance.fm[0] channel 0 disabled\nbalance.fm[0] channel 0 enabled\nbalance.fm[0] \n"),
        ("/dev/null", "balance.fm[0] \n"),
    ] {
        let output = run(control.shell().stdin(File::open(input).unwrap()));
        let text = String::from_utf8(output.stdout).unwrap();
        assert_eq!((output.status.code(), text), (Some(0), banner(lb.id()) + prompts), "{input}");
    }
}

#[test]
fn a_shell_ends_quietly_when_nobody_reads_what_it_says() {
    let (_lb, control) = Control::start(&[], &["127.0.0.1:9"]);
    let mut shell = control.shell().spawn().unwrap();
    drop(shell.stdout.take());
    let mut input = shell.stdin.take().unwrap();
    // Whatever is typed: it goes on until the shell has gone.
    wait_for("the shell to end", || input.write_all(b"show\n").is_err());
    let output = shell.wait_with_output().unwrap();
    assert_eq!((output.status.code(), output.stderr.as_slice()), (Some(0), &b""[..]));
}

#[test]
fn an_answer_that_finds_no_room_on_the_disk_is_a_failure() {
    let Ok(full) = File::options().write(true).open("/dev/full") else {
        return println!("skipped: this system has no /dev/full");
    };
    let (_lb, control) = Control::start(&[], &["127.0.0.1:9"]);
    let mut order = bare_command(&["-c", "show"]);
    let mut config = bare_command(&["--print-config", "9000"]);
    for command in [order.args(control.target()), &mut config] {
        let mut said = command.stdout(full.try_clone().unwrap()).stderr(Stdio::piped()).spawn().unwrap();
        let status = said.wait().unwrap();
        let mut line = String::new();
        said.stderr.take().unwrap().read_to_string(&mut line).unwrap();
        assert_eq!(status.code(), Some(71), "{line}");
        assert!(line.starts_with("lb: cannot write ") && line.contains("No space left"), "{line}");
    }
}

#[test]
fn a_shell_that_was_idle_goes_on_with_the_next_master() {
    let words = ["127.0.0.1:9", "!", "127.0.0.1:10"];
    let (first, control) = Control::start(&[], &words);
    let mut shell = control.shell().spawn().unwrap();
    let (mut input, mut output) = (shell.stdin.take().unwrap(), BufReader::new(shell.stdout.take().unwrap()));
    writeln!(input, "group 1\ndisable 0").unwrap();
    let mut line = String::new();
    while !line.ends_with("channel 0 disabled\n") {
        assert!(output.read_line(&mut line).unwrap() > 0);
    }
    first.signal(Signal::TERM);
    drop(first.ended());
    let second = control.next(&[], &words);
    writeln!(input, "disable 0").unwrap();
    drop(input);
    let mut rest = String::new();
    output.read_to_string(&mut rest).unwrap();
    let master = format!("PID of master process is {}\n", second.id());
    assert_eq!(rest, format!("balance.fm[1] {master}channel 0 disabled\nbalance.fm[1] \n"));
    assert!(shell.wait().unwrap().success());
    assert_eq!(control.status(1), "DIS");
}

#[test]
fn every_prefix_of_a_command_means_what_it_means_to_balance() {
    let (_lb, control) = Control::start(&[], &["127.0.0.1:9"]);
    // The shortest word that means it, the rest of the line, and how the answer begins.
    for (name, shortest, rest, answer) in [
        ("show", 1, "", "GRP "),
        ("help", 1, "", "available commands:"),
        ("?", 1, "", "available commands:"),
        ("monitor", 1, "show", "no monitor process running"),
        ("disable", 1, "7", "no such channel 7"),
        ("group", 1, "99", "value out of range"),
        ("reset", 1, "0", "channel 0 counters reset"),
        ("enable", 1, "0", "channel 0 already enabled"),
        ("create", 1, "x 0", "invalid address"),
        ("assign", 1, "0 127.0.0.1 80", "channel must be disabled to assign new address"),
        ("maxc", 2, "0 5", "maxc of channel 0 changed to 5"),
        ("mrtg-bytes", 2, "0 0", "0\n0\nUNKNOWN\ngroup 0 channel 0"),
        ("mrtg-conns", 6, "0 0", "0\nUNKNOWN\nUNKNOWN\ngroup 0 channel 0"),
        ("version", 1, "", "  This is balance.fm"),
        ("hash", 2, "", "group 0 set to hash"),
        ("rr", 2, "", "group 0 set to round robin"),
        ("drain", 2, "7", "no such channel 7"),
        ("weight", 1, "7 1", "unknown channel"),
        ("explain", 2, "127.0.0.1", "client 127.0.0.1 gets"),
        ("quit", 1, "", ""),
    ] {
        for length in shortest..=name.len() {
            let said = control.says(&format!("{} {rest}", &name[..length])).1;
            assert!(said.starts_with(answer) && said.is_empty() == answer.is_empty(), "{}: {said}", &name[..length]);
        }
    }
    assert_eq!(control.says("shows").1, "syntax error\n", "nothing is cut off");
    assert_eq!(control.must("k"), "shutdown complete, exiting.\n");
}

#[test]
fn what_fails_says_so_in_words_and_in_the_exit_status() {
    let (_lb, control) = Control::start(&[], &["127.0.0.1:9"]);
    for (order, answer) in [
        ("disable 7", "no such channel 7\n"),
        ("disable -1", "no such channel -1\n"),
        ("enable 7", "no such channel 7\n"),
        ("reset 7", "no such channel 7\n"),
        ("drain 7", "no such channel 7\n"),
        ("maxc 7 1", "unknown channel\n"),
        ("weight 7 1", "unknown channel\n"),
        ("maxc 0 -1", "'-1' is not a number from 0 to 4294967295\n"),
        ("assign 7 127.0.0.1 80", "unknown channel\n"),
        ("mrtg-bytes 0 7", "unknown channel\n"),
        ("mrtg-bytes 99 0", "unknown group\n"),
        ("create no.such.host.invalid 80", "invalid address\n"),
        ("create 127.0.0.1 0", "invalid address\n"),
        ("create 127.0.0.1 70000", "invalid address\n"),
        ("create 127.0.0.1:80:5 80", "invalid address\n"),
        ("group 99", "value out of range\n"),
        ("group 256", "value out of range\n"),
        ("monitor enable", "no monitor process running\n"),
        ("monitor", "syntax error\n"),
        ("frobnicate", "syntax error\n"),
        ("disable", "syntax error\n"),
        ("create 127.0.0.1", "syntax error\n"),
    ] {
        assert_eq!(control.says(order), (69, answer.to_owned()), "{order}");
    }
    let said = control.says("disable 7; disable 0");
    assert_eq!(said, (69, "no such channel 7\nchannel 0 disabled\n".to_owned()), "one of them failed");
    let (status, text) = control.says("disable 7; disable 0; show");
    assert!(status == 69 && text.starts_with("no such channel 7\nchannel 0 already disabled\nGRP "), "{text}");
    assert_eq!(control.must("group 0; enable 0"), "channel 0 enabled\n");
    assert_eq!(control.must("enable 0; quit; disable 7"), "channel 0 already enabled\n");
    for nothing in ["", ";", " ; ;"] {
        assert_eq!(control.must(nothing), "");
    }
}

#[test]
fn a_group_that_is_not_there_fails_at_once_and_nothing_meant_for_it_reaches_another() {
    let (_lb, control) = Control::start(&[], &["127.0.0.1:9", "!", "127.0.0.1:10"]);
    let none = "no such group 9: the last one is 1, 'create' begins another\n";
    for order in ["group 9", "group 9; disable 0", "group 9; show", "group 9\ndisable 0", "group 9; disable 0; quit"] {
        assert_eq!(control.says(order), (69, none.to_owned()), "{order}");
    }
    assert_eq!(control.says("group 99; disable 0"), (69, "value out of range\n".to_owned()));
    assert_eq!(control.says("group 1x; disable 0"), (69, "'1x' is not the number of a group\n".to_owned()));
    assert_eq!(control.says("group; disable 0"), (69, "syntax error\n".to_owned()));
    assert_eq!((control.status(0), control.status(1)), ("ENA".to_owned(), "ENA".to_owned()));
    let said = control.says("group 9; disable 0; group 1; disable 0");
    assert_eq!(said, (69, format!("{none}channel 0 disabled\n")), "another one is entered");
    assert_eq!((control.status(0), control.status(1)), ("ENA".to_owned(), "DIS".to_owned()));
    assert_eq!(control.must("group 2; hash"), "group 2 set to hash\n");
    assert_eq!(
        control.must("group 9; create 127.0.0.1 11; disable 0"),
        "channel created\nchannel 0 already disabled\n"
    );
    assert_eq!(control.must("group 9"), "", "now it is there");
}

#[test]
fn help_and_version_begin_as_balances_do() {
    let (_lb, control) = Control::start(&[], &["127.0.0.1:9"]);
    let said = control.must("help");
    assert!(said.starts_with("available commands:\n"), "{said}");
    for command in ["assign", "create", "disable", "drain", "explain", "maxc", "monitor", "mrtg-bytes", "weight"] {
        assert!(said.contains(command), "{command}: {said}");
    }
    let version = control.must("version");
    assert!(version.starts_with("  This is balance.fm 1.0.0\n  MAXGROUPS=16\n  MAXCHANNELS=64\n"), "{version}");
    assert!(version.contains(env!("CARGO_PKG_VERSION")), "{version}");
}

#[test]
fn with_shared_files_asked_for_control_is_the_same() {
    let (lb, control) = Control::start(&["-M"], &["127.0.0.1:9"]);
    let said = run(bare_command(&["-M", "-c", "disable 0"]).args(control.target()));
    assert_eq!((said.status.code(), said.stdout.as_slice()), (Some(0), &b"channel 0 disabled\n"[..]));
    let said = run(bare_command(&["-Mi"]).args(control.target()).stdin(Stdio::null()));
    assert_eq!(said.status.code(), Some(0));
    lb.signal(Signal::TERM);
    assert_eq!(lb.ended().0.code(), Some(0));
}
