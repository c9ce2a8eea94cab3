//! What is told over HTTP is told without the token, and without the values of headers and of what checks send: whoever
//! can reach a place on this machine may ask.

use std::borrow::Cow;

use crate::token::Token;

const UNTOLD: &str = "not told over HTTP";

/// A configuration without its token: `[control]` has a comment in its place. Headers have their names.
pub(super) fn without_secrets(toml: &str, token: Option<&Token>) -> String {
    let mut is_control = false;
    let mut text = String::with_capacity(toml.len());
    for line in toml.lines() {
        if line.starts_with('[') {
            is_control = line.trim_end() == "[control]";
        }
        let key = line.split('=').next().unwrap_or_default().trim();
        if is_control && key == "token" {
            text.push_str(&format!("# token: {UNTOLD}"));
        } else {
            text.push_str(&without_sent(&without_headers(line)));
        }
        text.push('\n');
    }
    without(text, token)
}

/// A line of a written configuration, and its headers without their values.
fn without_headers(line: &str) -> Cow<'_, str> {
    const LIST: &str = "headers = [";
    let is_one = |at: &usize| {
        let before = line.get(..*at).unwrap_or_default();
        ["request_", "answer_"].contains(&before) || before.ends_with([' ', '{'])
    };
    let Some(at) = line.match_indices(LIST).map(|(at, _)| at).find(is_one) else { return line.into() };
    let (begin, list) = line.split_at(at + LIST.len());
    let (mut told, mut rest) = (Vec::new(), list);
    while let Some((_, text)) = rest.split_once('"').filter(|(between, _)| !between.contains(']')) {
        let (header, behind) = to_quote(text);
        told.push(header.split_once(':').map_or(format!("\"{header}\""), |(name, _)| format!("\"{name}: ***\"")));
        rest = behind.strip_prefix('"').unwrap_or_default();
    }
    format!("{begin}{}{rest}", told.join(", ")).into()
}

/// The same line without what its check says over a connection.
fn without_sent(line: &str) -> Cow<'_, str> {
    match line.split_once(", send = \"").filter(|(check, _)| check.trim_start().starts_with("{ connect = ")) {
        Some((check, text)) => format!("{check}, send = \"***{}", to_quote(text).1).into(),
        None => line.into(),
    }
}

/// Up to the quote that ends a text, and from there on.
fn to_quote(text: &str) -> (&str, &str) {
    let mut is_escaped = false;
    let end = text.find(|letter| {
        let ends = letter == '"' && !is_escaped;
        is_escaped = letter == '\\' && !is_escaped;
        ends
    });
    text.split_at(end.unwrap_or(text.len()))
}

/// A text for people. The lines of a file that it shows are left out: what is wrong there may be the token itself.
pub(super) fn untold(text: &str, token: Option<&Token>) -> String {
    let told: Vec<&str> = text.lines().filter(|line| !line.starts_with(' ')).collect();
    without(told.join("\n"), token)
}

/// Wherever else it may be. One that is nearly a word would be found in words.
fn without(text: String, token: Option<&Token>) -> String {
    match token.map(Token::reveal).filter(|token| token.len() >= 8) {
        Some(token) => text.replace(token, &format!("({UNTOLD})")),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_configuration_keeps_all_but_the_token() {
        let toml = "[control]\nhttp = \"[::]:1\"\ntoken = \"a=\\\"b\"\n\n[pools.token]\ntoken = 1\n";
        let told = "[control]\nhttp = \"[::]:1\"\n# token: not told over HTTP\n\n[pools.token]\ntoken = 1\n";
        assert_eq!(without_secrets(toml, None), told);
        let file = "[control]\ntoken_file = \"/etc/lb/token\"\n";
        assert_eq!(without_secrets(file, None), file);
    }

    #[test]
    fn headers_of_checks_keep_their_names() {
        let told = |line: &str| without_secrets(line, None).trim_end().to_owned();
        let check = r#"  { http = "/", headers = ["Authorization: Bearer a]\"b\\", "X-Probe: lb"], expect = "UP" },"#;
        let hidden = r#"  { http = "/", headers = ["Authorization: ***", "X-Probe: ***"], expect = "UP" },"#;
        assert_eq!(told(check), hidden);
        assert_eq!(told(r#"  { http = "/", headers = ["A: secret"#), r#"  { http = "/", headers = ["A: ***""#);
        let edits = r#"request_headers = ["set Authorization: Basic a", "remove X-Own"]"#;
        assert_eq!(told(edits), r#"request_headers = ["set Authorization: ***", "remove X-Own"]"#);
        let other = r#"other_headers = ["set X-Forwarded-Proto: https"]"#;
        assert_eq!(told(other), other);
        let check = r#"  { connect = true, send = "AUTH \"a\r\n", expect = "+OK" },"#;
        assert_eq!(told(check), r#"  { connect = true, send = "***", expect = "+OK" },"#);
    }

    #[test]
    fn nothing_else_tells_it() {
        let token: Token = "0123456789abcdef".parse().unwrap();
        let other = "~ control: token is another one (takes effect at the next start)\n+ pool 'control': 'token-1:80'";
        assert_eq!(untold(other, Some(&token)), other);
        let excerpt = "lb.toml:2:9: token: expected 1\n  2 | token = \"a b\"\n    |         ^^^^^";
        assert_eq!(untold(excerpt, None), "lb.toml:2:9: token: expected 1");
        assert_eq!(untold("x 0123456789abcdef y", Some(&token)), "x (not told over HTTP) y");
    }
}
