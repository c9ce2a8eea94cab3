//! How requests are balanced, as TOML.

use std::time::Duration;

use super::{
    Http, Size, Time,
    http::{CLIENTS_HOST, NO_PAGE, NO_VIA},
    write_value::{duration, or, quoted, time_or},
};
use crate::http::{Edit, Page, Settings};

/// A line for each key, in order.
pub(super) fn lines(http: &Http) -> Vec<String> {
    let own = http.own();
    let mut lines = times(own);
    lines.extend(limits(own));
    lines.extend(tables(own));
    lines.extend(forwarded(own));
    lines.push(format!("key = {}", quoted(&own.key.to_string())));
    let sticky = own.sticky.as_ref().map(|sticky| {
        format!("{{ cookie = {}, lifetime = {} }}", quoted(sticky.cookie()), duration(sticky.lifetime()))
    });
    lines.push(format!("sticky = {}", sticky.unwrap_or_else(off)));
    lines.push(format!("retry_after = {}", time_or(own.retry_after.and_then(Time::new), "off")));
    let page = own.unavailable_page.as_ref().and_then(Page::file).map(|file| file.display().to_string());
    lines.push(format!("unavailable_page = {}", or(page.as_ref(), NO_PAGE)));
    let log = http
        .access_log()
        .map(|log| format!("{{ to = {}, format = {} }}", quoted(&log.to.to_string()), quoted(log.format.name())));
    lines.push(format!("access_log = {}", log.unwrap_or_else(off)));
    lines
}

fn off() -> String {
    quoted("off")
}

fn never(time: Option<Duration>) -> String {
    time_or(time.and_then(Time::new), "never")
}

fn times(own: &Settings) -> Vec<String> {
    let times = &own.times;
    vec![
        format!("head_timeout = {}", duration(times.head)),
        format!("body_timeout = {}", duration(times.body)),
        format!("keep_alive_timeout = {}", duration(times.idle)),
        format!("first_byte_timeout = {}", duration(times.first_byte)),
        format!("read_timeout = {}", duration(times.between_reads)),
        format!("request_timeout = {}", never(times.request)),
        format!("tunnel_timeout = {}", never(times.tunnel_idle)),
    ]
}

fn limits(own: &Settings) -> Vec<String> {
    let limits = &own.limits;
    let size = |bytes: Option<u64>| or(bytes.and_then(Size::new).as_ref(), "none");
    vec![
        format!("max_head = {}", size(Some(limits.head_bytes.into()))),
        format!("max_fields = {}", limits.fields),
        format!("max_body = {}", size(limits.body_bytes)),
        format!("max_connections = {}", number(limits.connections)),
    ]
}

fn number(number: Option<std::num::NonZeroU32>) -> String {
    number.map_or_else(|| quoted("none"), |number| number.to_string())
}

fn tables(own: &Settings) -> Vec<String> {
    let Settings { keep, queue, retry, .. } = own;
    let (idle, age, uses) = (duration(keep.idle_time), never(keep.age), number(keep.uses));
    vec![
        format!("keep = {{ idle = {}, idle_timeout = {idle}, age = {age}, uses = {uses} }}", keep.idle),
        format!("queue = {{ length = {}, timeout = {} }}", queue.length, duration(queue.time)),
        format!(
            "retry = {{ percent = {}, per_second = {}, idempotency_key = {} }}",
            retry.percent, retry.per_second, retry.idempotency_key
        ),
    ]
}

fn forwarded(own: &Settings) -> Vec<String> {
    let forward = &own.forward;
    let trusted = Some(&forward.trusted).filter(|networks| !networks.is_empty());
    let edits = |edits: &[Edit]| {
        let all: Vec<String> = edits.iter().map(|edit| quoted(&edit.to_string())).collect();
        format!("[{}]", all.join(", "))
    };
    vec![
        format!("x_forwarded = {}", forward.x_forwarded),
        format!("forwarded = {}", forward.forwarded),
        format!("via = {}", or(forward.via.as_ref(), NO_VIA)),
        format!("host = {}", or(forward.host.as_ref(), CLIENTS_HOST)),
        format!("trusted_proxies = {}", or(trusted, "off")),
        format!("request_headers = {}", edits(&own.request_edits)),
        format!("answer_headers = {}", edits(&own.answer_edits)),
    ]
}
