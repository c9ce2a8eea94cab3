//! One request as one line.

use std::{
    io::Write as _,
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use super::{AccessFormat, escape, stamp::Stamp};
use crate::http::Record;

/// Bytes of what a client has sent that are written of one field.
const LONGEST: usize = 8 * 1024;

/// Appends the line, with its end.
pub(super) fn write(format: AccessFormat, record: &Record<'_>, stamp: &mut Stamp, out: &mut Vec<u8>) {
    match format {
        AccessFormat::Json => json(record, stamp, out),
        AccessFormat::Common => common(record, stamp, out),
        AccessFormat::Combined => combined(record, stamp, out),
        AccessFormat::Timings => {
            combined(record, stamp, out);
            timings(record, out);
        }
    }
    out.push(b'\n');
}

/// `host ident authuser [date] "request" status bytes`, as NCSA httpd wrote it. Where no answer was sent the status is
/// 499, which nginx has made usual; the bytes are those of the body, or `-`.
fn common(record: &Record<'_>, stamp: &mut Stamp, out: &mut Vec<u8>) {
    address(record.client, out);
    out.extend_from_slice(b" - - [");
    out.extend_from_slice(stamp.common(record.began).as_bytes());
    out.extend_from_slice(b"] \"");
    request_line(record, out);
    out.extend_from_slice(b"\" ");
    number(if record.status == 0 { 499 } else { u64::from(record.status) }, out);
    out.push(b' ');
    match record.answer_bytes {
        0 => out.push(b'-'),
        bytes => number(bytes, out),
    }
}

fn request_line(record: &Record<'_>, out: &mut Vec<u8>) {
    if record.method.is_empty() {
        return or_dash(Some(record.target).filter(|target| !target.is_empty()), out);
    }
    escape::text(short(record.method.as_bytes()), out);
    out.push(b' ');
    escape::text(short(record.target), out);
    out.push(b' ');
    escape::text(short(record.version.as_bytes()), out);
}

fn combined(record: &Record<'_>, stamp: &mut Stamp, out: &mut Vec<u8>) {
    common(record, stamp, out);
    out.extend_from_slice(b" \"");
    or_dash(record.referer, out);
    out.extend_from_slice(b"\" \"");
    or_dash(record.user_agent, out);
    out.push(b'"');
}

fn timings(record: &Record<'_>, out: &mut Vec<u8>) {
    out.extend_from_slice(b" host=\"");
    or_dash(record.host, out);
    out.extend_from_slice(b"\" backend=\"");
    or_dash(record.backend.map(str::as_bytes), out);
    out.extend_from_slice(b"\" queue=");
    millis(record.queued, out);
    out.extend_from_slice(b" connect=");
    millis(record.connect, out);
    out.extend_from_slice(b" first_byte=");
    match record.first_byte {
        Some(first_byte) => millis(first_byte, out),
        None => out.push(b'-'),
    }
    out.extend_from_slice(b" total=");
    millis(record.total, out);
    out.extend_from_slice(b" attempts=");
    number(record.attempts.into(), out);
    out.extend_from_slice(if record.reused { b" reused=1 reason=" } else { b" reused=0 reason=" });
    or_dash(record.reason.map(str::as_bytes), out);
    out.extend_from_slice(if record.cut { b" cut=1" } else { b" cut=0" });
}

fn json(record: &Record<'_>, stamp: &mut Stamp, out: &mut Vec<u8>) {
    let (time, millisecond) = stamp.iso(record.began);
    out.extend_from_slice(b"{\"time\":\"");
    out.extend_from_slice(time.as_bytes());
    out.push(b'.');
    three(millisecond, out);
    out.extend_from_slice(b"Z\",\"client\":\"");
    address(record.client, out);
    out.extend_from_slice(b"\",\"port\":");
    number(record.client.port().into(), out);
    string(b",\"method\":", Some(record.method.as_bytes()).filter(|method| !method.is_empty()), out);
    string(b",\"target\":", Some(record.target), out);
    string(b",\"version\":", Some(record.version.as_bytes()), out);
    string(b",\"host\":", record.host, out);
    out.extend_from_slice(b",\"status\":");
    number(record.status.into(), out);
    out.extend_from_slice(b",\"request_bytes\":");
    number(record.request_bytes, out);
    out.extend_from_slice(b",\"answer_bytes\":");
    number(record.answer_bytes, out);
    string(b",\"referer\":", record.referer, out);
    string(b",\"user_agent\":", record.user_agent, out);
    json_of_lb(record, out);
}

/// The part that is about what lb has done.
fn json_of_lb(record: &Record<'_>, out: &mut Vec<u8>) {
    string(b",\"backend\":", record.backend.map(str::as_bytes), out);
    out.extend_from_slice(b",\"attempts\":");
    number(record.attempts.into(), out);
    out.extend_from_slice(if record.reused { b",\"reused\":true" } else { b",\"reused\":false" });
    out.extend_from_slice(b",\"queue_ms\":");
    millis(record.queued, out);
    out.extend_from_slice(b",\"connect_ms\":");
    millis(record.connect, out);
    out.extend_from_slice(b",\"first_byte_ms\":");
    match record.first_byte {
        Some(first_byte) => millis(first_byte, out),
        None => out.extend_from_slice(b"null"),
    }
    out.extend_from_slice(b",\"total_ms\":");
    millis(record.total, out);
    string(b",\"reason\":", record.reason.map(str::as_bytes), out);
    out.extend_from_slice(if record.cut { b",\"cut\":true}" } else { b",\"cut\":false}" });
}

/// A key with what goes before it, and its value.
fn string(key: &[u8], value: Option<&[u8]>, out: &mut Vec<u8>) {
    out.extend_from_slice(key);
    let Some(value) = value else { return out.extend_from_slice(b"null") };
    out.push(b'"');
    escape::json(short(value), out);
    out.push(b'"');
}

fn or_dash(value: Option<&[u8]>, out: &mut Vec<u8>) {
    match value {
        Some(value) => escape::text(short(value), out),
        None => out.push(b'-'),
    }
}

fn short(value: &[u8]) -> &[u8] {
    value.get(..LONGEST).unwrap_or(value)
}

/// Of a client over IPv4, however its connection was accepted, its IPv4 address.
fn address(client: SocketAddr, out: &mut Vec<u8>) {
    match client.ip().to_canonical() {
        IpAddr::V4(ip) => {
            let [first, rest @ ..] = ip.octets();
            number(first.into(), out);
            for octet in rest {
                out.push(b'.');
                number(octet.into(), out);
            }
        }
        // Into memory: it does not fail.
        IpAddr::V6(ip) => drop(write!(out, "{ip}")),
    }
}

/// In milliseconds, with microseconds behind the point.
fn millis(duration: Duration, out: &mut Vec<u8>) {
    let micros = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
    number(micros / 1000, out);
    out.push(b'.');
    three(u32::try_from(micros % 1000).unwrap_or_default(), out);
}

/// Three digits of a number below 1000.
fn three(value: u32, out: &mut Vec<u8>) {
    let digit = |value: u32| b'0' + u8::try_from(value % 10).unwrap_or_default();
    out.extend_from_slice(&[digit(value / 100), digit(value / 10), digit(value)]);
}

/// Several times as fast as the formatter, and there are ten in a line.
fn number(mut value: u64, out: &mut Vec<u8>) {
    let mut digits = [0; 20];
    let mut begin = digits.len();
    for digit in digits.iter_mut().rev() {
        *digit = b'0' + (value % 10) as u8;
        value /= 10;
        begin -= 1;
        if value == 0 {
            break;
        }
    }
    out.extend_from_slice(digits.get(begin..).unwrap_or_default());
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    fn record() -> Record<'static> {
        let mut record =
            Record::new("192.0.2.7:4711".parse().unwrap(), UNIX_EPOCH + Duration::from_millis(971_186_136_042));
        (record.method, record.target) = ("GET", b"/a?b=c");
        record.host = Some(b"a.example");
        record.user_agent = Some(b"curl/8");
        record.referer = Some(b"http://r/");
        (record.status, record.request_bytes, record.answer_bytes) = (200, 7, 2326);
        (record.backend, record.attempts, record.reused) = (Some("web:80"), 1, true);
        record.connect = Duration::from_micros(1_050);
        (record.first_byte, record.total) = (Some(Duration::from_micros(1_204)), Duration::from_nanos(12_311_999));
        record
    }

    fn line(format: AccessFormat, record: &Record<'_>) -> String {
        let mut out = Vec::new();
        write(format, record, &mut Stamp::default(), &mut out);
        String::from_utf8(out).unwrap()
    }

    const COMBINED: &str =
        r#"192.0.2.7 - - [10/Oct/2000:13:55:36 +0000] "GET /a?b=c HTTP/1.1" 200 2326 "http://r/" "curl/8""#;

    #[test]
    fn the_usual_formats_are_what_analysers_expect() {
        assert_eq!(line(AccessFormat::Combined, &record()), format!("{COMBINED}\n"));
        let common = COMBINED.split(" \"http").next().unwrap();
        assert_eq!(line(AccessFormat::Common, &record()), format!("{common}\n"));
    }

    #[test]
    fn timings_stand_behind_them() {
        let parts = "queue=0.000 connect=1.050 first_byte=1.204 total=12.311 attempts=1 reused=1 reason=- cut=0";
        let expected = format!("{COMBINED} host=\"a.example\" backend=\"web:80\" {parts}\n");
        assert_eq!(line(AccessFormat::Timings, &record()), expected);
    }

    #[test]
    fn json_has_all_that_is_known() {
        let expected = json!({
            "time": "2000-10-10T13:55:36.042Z", "client": "192.0.2.7", "port": 4711, "method": "GET",
            "target": "/a?b=c", "version": "HTTP/1.1", "host": "a.example", "status": 200, "request_bytes": 7,
            "answer_bytes": 2326, "referer": "http://r/", "user_agent": "curl/8", "backend": "web:80", "attempts": 1,
            "reused": true, "queue_ms": 0.0, "connect_ms": 1.05, "first_byte_ms": 1.204, "total_ms": 12.311,
            "reason": null, "cut": false,
        });
        assert_eq!(serde_json::from_str::<Value>(&line(AccessFormat::Json, &record())).unwrap(), expected);
    }

    #[test]
    fn a_request_that_could_not_be_read_and_one_without_an_answer_are_told_too() {
        let mut record = Record::new("[::ffff:192.0.2.7]:1".parse().unwrap(), UNIX_EPOCH);
        let begin = "192.0.2.7 - - [01/Jan/1970:00:00:00 +0000]";
        assert_eq!(line(AccessFormat::Common, &record), format!("{begin} \"-\" 499 -\n"));
        (record.target, record.status, record.reason) = (b"\x16\x03\x01", 400, Some("bad-request-line"));
        assert_eq!(line(AccessFormat::Combined, &record), format!("{begin} \"\\x16\\x03\\x01\" 400 - \"-\" \"-\"\n"));
        let read: Value = serde_json::from_str(&line(AccessFormat::Json, &record)).unwrap();
        assert_eq!((&read["method"], &read["first_byte_ms"]), (&Value::Null, &Value::Null));
        assert_eq!(read["reason"], "bad-request-line");
        record.client = "[2001:db8::1]:1".parse().unwrap();
        assert!(line(AccessFormat::Common, &record).starts_with("2001:db8::1 - - ["));
    }

    #[test]
    fn numbers_are_written_as_the_formatter_writes_them() {
        for value in [0, 1, 9, 10, 99, 100, 12_345, u64::MAX - 1, u64::MAX] {
            let mut out = Vec::new();
            number(value, &mut out);
            assert_eq!(String::from_utf8(out).unwrap(), value.to_string());
        }
        let mut out = Vec::new();
        millis(Duration::MAX, &mut out);
        assert_eq!(out, b"18446744073709551.615");
    }

    fn bytes() -> impl Strategy<Value = Vec<u8>> {
        let odd = prop_oneof![Just(b'"'), Just(b'\\'), Just(b'\n'), Just(b'\r'), Just(0_u8), any::<u8>()];
        proptest::collection::vec(odd, 0..40)
    }

    proptest! {
        #[test]
        fn no_client_can_break_a_line_or_forge_another(
            (target, host, agent, referer) in (bytes(), bytes(), bytes(), bytes()),
            (backend, status, sent, took) in ("\\PC{0,20}|\n\"", any::<u16>(), any::<u64>(), any::<u64>()),
        ) {
            let mut record = record();
            (record.target, record.host, record.backend) = (&target[..], Some(&host[..]), Some(&backend[..]));
            (record.user_agent, record.referer) = (Some(&agent[..]), Some(&referer[..]));
            (record.status, record.answer_bytes, record.total) = (status, sent, Duration::from_nanos(took));
            for format in [AccessFormat::Common, AccessFormat::Combined, AccessFormat::Timings] {
                let line = line(format, &record);
                let inside = line.strip_suffix('\n').unwrap();
                prop_assert!(inside.bytes().all(|byte| (0x20..0x7f).contains(&byte)));
                let quotes = match format {
                    AccessFormat::Common => 2,
                    AccessFormat::Combined => 6,
                    _ => 10,
                };
                prop_assert_eq!(inside.matches('"').count(), quotes);
            }
            let line = line(AccessFormat::Json, &record);
            prop_assert!(!line.strip_suffix('\n').unwrap().chars().any(char::is_control));
            let read: Value = serde_json::from_str(&line).unwrap();
            prop_assert_eq!(read["user_agent"].as_str().unwrap(), String::from_utf8_lossy(&agent));
            prop_assert_eq!(read.as_object().unwrap().len(), 21);
        }
    }
}
