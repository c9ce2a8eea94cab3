//! What every message that a proxy sends on must be, whatever it was made of.

use super::{Framing, Message};

/// Fields of one connection, which nobody is to see behind it.
const OF_ONE_HOP: &[&str] = &["keep-alive", "proxy-connection", "proxy-authenticate", "http2-settings"];

fn is_token(word: &str) -> bool {
    !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte))
}

fn unless(is_wrong: bool, why: &str) -> Result<(), String> {
    if is_wrong { Err(why.to_owned()) } else { Ok(()) }
}

/// A field's line: a token, a colon, a value without blanks around it.
pub(super) fn field(line: &str) -> Result<(String, String), String> {
    let (name, value) = line.split_once(':').ok_or("a field without a colon")?;
    unless(!is_token(name), "a field whose name is no token")?;
    let value = value.strip_prefix(' ').unwrap_or(value);
    unless(value.trim_matches([' ', '\t']) != value, "blanks around a value")?;
    unless(value.chars().any(|letter| letter.is_ascii_control() && letter != '\t'), "a control in a value")?;
    Ok((name.to_owned(), value.to_owned()))
}

/// How the end of the body is known: in one way only.
pub(super) fn framing(head: &Message, without: Framing) -> Result<Framing, String> {
    let (lengths, codings) = (head.all("content-length"), head.all("transfer-encoding"));
    match (&lengths[..], &codings[..]) {
        ([], []) => Ok(without),
        ([length], []) => {
            unless(length.is_empty() || !length.bytes().all(|byte| byte.is_ascii_digit()), "a length that is none")?;
            Ok(Framing::Length(length.parse().map_err(|_| "a length that is too long")?))
        }
        ([], ["chunked"]) => Ok(Framing::Chunked),
        _ => Err("a body that is framed in more than one way".to_owned()),
    }
}

/// The size of a chunk; no sender of ours has extensions.
pub(super) fn chunk_size(line: &str) -> Result<usize, String> {
    unless(line.is_empty() || !line.bytes().all(|byte| byte.is_ascii_hexdigit()), "a chunk's size that is none")?;
    usize::from_str_radix(line, 16).map_err(|error| error.to_string())
}

fn of_any(head: &Message, options: &[&str]) -> Result<(), String> {
    for name in OF_ONE_HOP {
        unless(head.has(name), &format!("{name} is for one connection only"))?;
    }
    let said = head.all("connection").into_iter().flat_map(|value| value.split(',')).map(str::trim);
    for option in said {
        let known = options.iter().any(|own| own.eq_ignore_ascii_case(option));
        unless(!known, &format!("Connection nominates {option}"))?;
    }
    let upgrades = head.has("upgrade");
    unless(upgrades != head.lists("connection", "upgrade"), "Upgrade and Connection do not agree")?;
    unless(head.lists("upgrade", "h2c"), "h2c")
}

/// What a backend may be sent.
pub(super) fn request(head: &Message) -> Result<(), String> {
    let words: Vec<&str> = head.first.split(' ').collect();
    let [method, target, version] = words[..] else { return Err("a line of other than three words".to_owned()) };
    unless(!is_token(method), "a method that is no token")?;
    unless(method == "CONNECT", "CONNECT")?;
    unless(!(target.starts_with('/') || (target == "*" && method == "OPTIONS")), "a target in another form")?;
    unless(target.bytes().any(|byte| byte <= b' ' || byte == 0x7f || byte == b'#'), "a letter that no target has")?;
    unless(version != "HTTP/1.1", "another version than ours")?;
    let host = head.all("host");
    unless(host.len() != 1, "not one Host")?;
    unless(host[0].bytes().any(|byte| b" ,/@?#\\<>\"".contains(&byte)), "a Host that is none")?;
    unless(head.all("te").iter().any(|value| *value != "trailers"), "TE other than trailers")?;
    unless(head.has("te") != head.lists("connection", "te"), "TE and Connection do not agree")?;
    of_any(head, &["close", "keep-alive", "upgrade", "te"])
}

/// What a client may be sent.
pub(super) fn answer(head: &Message) -> Result<(), String> {
    let (version, rest) = head.first.split_once(' ').ok_or("a line of one word")?;
    unless(!matches!(version, "HTTP/1.1" | "HTTP/1.0"), "a version that is none")?;
    let code = rest.split(' ').next().unwrap_or_default();
    unless(code.len() != 3 || !code.bytes().all(|byte| byte.is_ascii_digit()), "a status that is none")?;
    let has_no_framing = code.starts_with('1') || code == "204";
    unless(has_no_framing && head.has("transfer-encoding"), "Transfer-Encoding where no body can be")?;
    unless(has_no_framing && head.has("content-length"), "Content-Length where no body can be")?;
    of_any(head, &["close", "keep-alive", "upgrade"])
}
