//! What the example says when it is run.
#![allow(clippy::unwrap_used)]

use std::process::Command;

#[test]
fn one_server_dies_and_no_request_fails() {
    let output = Command::new(env!("CARGO_BIN_EXE_tower_layer")).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success() && text.ends_with("30 requests, 0 failed\n"), "{text}");
    let answered = |line: &str| line.split(' ').nth(1).and_then(|count| count.parse::<u32>().ok());
    let counts: Vec<u32> = text.lines().filter(|line| line.contains(" answered, ")).filter_map(answered).collect();
    assert!(
        counts.len() == 3 && counts.iter().sum::<u32>() == 30 && counts[1] <= 4,
        "beta answered until it died: {text}"
    );
}
