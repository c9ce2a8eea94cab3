//! Examples that serve: they answer their own requests and end, or those of others until they are ended.

mod support;

use std::thread;

use support::{Example, exchange, get, run};

#[test]
fn tcp_proxy_greets_four_times_and_ends() {
    let printed = run(env!("CARGO_BIN_EXE_tcp_proxy"));
    assert_both_greet(&printed[1..], 4);
}

#[test]
fn tcp_proxy_serves_whoever_connects() {
    let (_proxy, address) = Example::serving(env!("CARGO_BIN_EXE_tcp_proxy"));
    let greetings: Vec<String> = (0..6).map(|_| exchange(address, "")).collect();
    assert_both_greet(&greetings, 6);
    let clients: Vec<_> = (0..20).map(|_| thread::spawn(move || exchange(address, ""))).collect();
    let greetings: Vec<String> = clients.into_iter().map(|client| client.join().expect("it is greeted")).collect();
    assert_both_greet(&greetings, 20);
}

/// In turn, but on a machine so busy that a connect takes a quarter of a second.
fn assert_both_greet(greetings: &[String], count: usize) {
    let said = |name: &str| greetings.iter().filter(|greeting| *greeting == name).count();
    let (alpha, beta) = (said("alpha"), said("beta"));
    assert!(alpha > 0 && beta > 0 && alpha + beta == count && greetings.len() == count, "{greetings:?}");
}

#[test]
fn http_proxy_shows_three_pages_and_ends() {
    let printed = run(env!("CARGO_BIN_EXE_http_proxy"));
    assert_eq!(printed.iter().filter(|line| *line == "HTTP/1.1 200 OK").count(), 3, "{printed:#?}");
    assert!(printed.iter().any(|line| line.starts_with("GET /news: 200 from 127.0.0.1:")), "{printed:#?}");
}

#[test]
fn http_proxy_numbers_requests_and_signs_answers() {
    let (proxy, address) = Example::serving(env!("CARGO_BIN_EXE_http_proxy"));
    for number in 0..5 {
        let answer = get(address, &format!("/page{number}"));
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
        assert!(answer.contains("X-Served-By: my program\r\n"), "{answer}");
        assert!(answer.ends_with(&format!(", request {number}")), "{answer}");
        let logged = proxy.line();
        assert!(logged.starts_with(&format!("GET /page{number}: 200 from 127.0.0.1:")), "{logged}");
    }
}

#[test]
fn http_answer_closes_the_shop_and_ends() {
    let printed = run(env!("CARGO_BIN_EXE_http_answer"));
    assert!(printed.iter().any(|line| line == "We are back in ten minutes."), "{printed:#?}");
    assert_eq!(printed.last().map(String::as_str), Some("0 connections had to be cut"));
}

#[test]
fn http_answer_answers_without_a_backend() {
    let (_proxy, address) = Example::serving(env!("CARGO_BIN_EXE_http_answer"));
    let robots = get(address, "/robots.txt");
    assert!(robots.starts_with("HTTP/1.1 200 ") && robots.ends_with("Disallow: /cart\n"), "{robots}");
    let shop = get(address, "/shop/cart");
    assert!(shop.starts_with("HTTP/1.1 503 ") && shop.contains("Retry-After: 600\r\n"), "{shop}");
    let news = get(address, "/news");
    assert!(news.starts_with("HTTP/1.1 50") && !news.contains("ten minutes"), "nobody listens behind: {news}");
}
