//! Keys of what those get whose request nobody may take.

use std::fs;

use rustix::process::Signal;

use crate::{
    Tested, both,
    http_place::{Answer, Client, both_ways},
    place::{Lb, Place},
    support::{Directory, wait_for},
};

pub(crate) const TESTED: &[&[Tested]] =
    &[both!("http.retry_after", they_are_told_when_to_come_again), both!("http.unavailable_page", they_see_a_page)];

/// A pool whose only backend takes no work.
const NOBODY: &str = "[[groups]]\nbackends = [{ name = \"127.0.0.1:9\", status = \"disabled\" }]";

fn refused(lb: &Lb, service: usize) -> Answer {
    let answer = Client::new(lb.fronts[service]).get("/", "");
    assert_eq!((answer.status, answer.field("lb-reason").as_deref()), (503, Some("no-backend")));
    answer
}

#[test]
fn they_are_told_when_to_come_again() {
    for lb in both_ways(&Place::new(), NOBODY, "retry_after = \"20s\"", "retry_after = \"off\"") {
        let seconds: u32 = refused(&lb, 0).field("retry-after").unwrap().parse().unwrap();
        assert!((20..=40).contains(&seconds), "{seconds}");
        assert_eq!(refused(&lb, 1).field("retry-after"), None);
    }
}

#[test]
fn they_see_a_page() {
    let directory = Directory::new();
    let path = directory.join("page.html");
    fs::write(&path, "<h1>later</h1>").unwrap();
    let key = format!("unavailable_page = \"{path}\"");
    for lb in both_ways(&Place::new(), NOBODY, &key, "unavailable_page = \"off\"") {
        let answer = refused(&lb, 0);
        assert_eq!((answer.body.as_str(), answer.is_whole), ("<h1>later</h1>", true));
        assert_eq!(answer.field("content-type").as_deref(), Some("text/html; charset=utf-8"));
        assert_eq!(refused(&lb, 1).body, "No server is available.\n");

        fs::write(&path, "<h1>much later</h1>").unwrap();
        lb.running.signal(Signal::HUP);
        lb.running.line_with("has other content");
        wait_for("the other page", || refused(&lb, 0).body == "<h1>much later</h1>");

        fs::remove_file(&path).unwrap();
        lb.running.signal(Signal::HUP);
        lb.running.line_with("not reloaded");
        assert_eq!(refused(&lb, 0).body, "<h1>much later</h1>");
        fs::write(&path, "<h1>later</h1>").unwrap();
    }
}
