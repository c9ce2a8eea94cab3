//! What is told over HTTP is told without the token.

use crate::token::Token;

const UNTOLD: &str = "not told over HTTP";

/// A configuration without its token: `[control]` has a comment in its place.
pub(super) fn without_token(toml: &str, token: Option<&Token>) -> String {
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
            text.push_str(line);
        }
        text.push('\n');
    }
    without(text, token)
}

/// A text for people, in which the token may be told of.
pub(super) fn untold(text: &str, token: Option<&Token>) -> String {
    let line = |line: &str| match line.find("token") {
        Some(at) if is_token(&line[at + "token".len()..], line) => {
            format!("{}: {UNTOLD}", &line[..at + "token".len()])
        }
        _ => line.to_owned(),
    };
    without(text.lines().map(line).collect::<Vec<_>>().join("\n"), token)
}

/// Whether that follows the key, in a file or in what is told of one.
fn is_token(rest: &str, line: &str) -> bool {
    rest.trim_start().starts_with('=') || line.contains("control") && !rest.starts_with("_file")
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
        assert_eq!(without_token(toml, None), told);
        let file = "[control]\ntoken_file = \"/etc/lb/token\"\n";
        assert_eq!(without_token(file, None), file);
    }

    #[test]
    fn nothing_else_tells_it() {
        let token: Token = "0123456789abcdef".parse().unwrap();
        assert_eq!(untold("control.token: \"a\" -> \"b\"\nlog.to", None), "control.token: not told over HTTP\nlog.to");
        assert_eq!(untold("control.token_file: \"/a\"", None), "control.token_file: \"/a\"");
        assert_eq!(untold("pool 'token': added", None), "pool 'token': added");
        let excerpt = "lb.toml:2:9: token: expected 1\n  2 | token = \"a b\"\n    |         ^^^^^";
        let told = "lb.toml:2:9: token: expected 1\n  2 | token: not told over HTTP\n    |         ^^^^^";
        assert_eq!(untold(excerpt, None), told);
        assert_eq!(untold("x 0123456789abcdef y", Some(&token)), "x (not told over HTTP) y");
    }
}
