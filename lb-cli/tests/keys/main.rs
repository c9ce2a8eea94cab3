//! Every key of a configuration file does something: with it a running `lb` behaves otherwise than without it, or than
//! with another value.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "these are tests")]

mod ejection;
mod groups;
mod http_fields;
mod http_limits;
mod http_place;
mod http_times;
mod http_unavailable;
mod place;
mod pools;
mod probes;
mod process;
mod sessions;
#[path = "../support/mod.rs"]
mod support;

use std::{collections::BTreeSet, fs, path::Path};

use serde_json::Value;
use support::{bare_command, run};

/// A key, by its path from the top of the file, and its test.
type Tested = (&'static str, fn());

/// A key of services that may be inherited, and its test.
#[macro_export]
macro_rules! both {
    ($key:literal, $test:ident) => {
        &[(concat!("services.NAME.", $key), $test), (concat!("defaults.", $key), $test)]
    };
}

/// Keys whose test is in another file beside this directory, and which file that is.
const ELSEWHERE: &[(&str, &str)] = &[
    ("control.http", "http_control.rs"),
    ("control.token", "http_control.rs"),
    ("control.token_file", "http_control.rs"),
    ("log.dump", "payload_dump.rs"),
    ("pools.NAME.groups.nodes", "sources.rs"),
    ("pools.NAME.groups.dns", "sources.rs"),
];

/// All keys below this part of a schema. NAME stands for names of one's own.
fn keys(schema: &Value, path: &str, all: &mut BTreeSet<String>) {
    for (name, below) in schema["properties"].as_object().into_iter().flatten() {
        let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
        keys(below, &path, all);
        all.insert(path);
    }
    if schema["additionalProperties"].is_object() {
        keys(&schema["additionalProperties"], &format!("{path}.NAME"), all);
    }
    keys_of_each(schema["oneOf"].as_array(), path, all);
    if schema["items"].is_object() {
        keys(&schema["items"], path, all);
    }
}

fn keys_of_each(choices: Option<&Vec<Value>>, path: &str, all: &mut BTreeSet<String>) {
    choices.into_iter().flatten().for_each(|choice| keys(choice, path, all));
}

#[test]
fn every_key_that_the_schema_knows_has_a_test() {
    let said = run(&mut bare_command(&["schema"]));
    let mut known = BTreeSet::new();
    keys(&serde_json::from_slice(&said.stdout).unwrap(), "", &mut known);
    // A table of the file alone says nothing.
    known.retain(|key| key.contains('.'));
    let here = [groups::TESTED, pools::TESTED, probes::TESTED, ejection::TESTED, sessions::TESTED, process::TESTED];
    let of_http = [http_times::TESTED, http_limits::TESTED, http_fields::TESTED, http_unavailable::TESTED]
        .into_iter()
        .flatten()
        .copied();
    let here = here.into_iter().chain(of_http).flatten().map(|(key, _)| (*key).to_owned());
    let elsewhere = ELSEWHERE.iter().map(|(key, file)| {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join(file);
        let name = key.rsplit('.').next().unwrap();
        assert!(fs::read_to_string(path).unwrap().contains(name), "{key} is not in {file}");
        (*key).to_owned()
    });
    let tested: BTreeSet<String> = here.chain(elsewhere).collect();
    let untested: Vec<&String> = known.difference(&tested).collect();
    assert!(untested.is_empty(), "these keys have no test that shows what they do: {untested:#?}");
    let unknown: Vec<&String> = tested.difference(&known).collect();
    assert!(unknown.is_empty(), "there are tests of keys that do not exist: {unknown:#?}");
}
