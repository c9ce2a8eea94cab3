//! Services, and the settings that they inherit.

use std::net::IpAddr;

use super::{
    Http, Service, Sessions,
    keys::{self, ROLES},
    read_http::{self, misplaced},
    reader::{Section, set},
    value::{self, At, Wrong},
};
use crate::sys::Keepalive;

/// Settings of one's own, and the others as inherited.
pub(super) fn sessions(section: &Section<'_, '_>, inherited: &Sessions) -> Sessions {
    let mut own = inherited.clone();
    set(&mut own.connect_timeout, section.get("connect_timeout", value::time));
    set(&mut own.race, section.get("race", |value| value::time_or(value, "off")));
    set(&mut own.idle_timeout, section.get("idle_timeout", |value| value::time_or(value, "never")));
    set(&mut own.grace, section.get("grace", |value| value::time_or(value, "none")));
    set(&mut own.client_keepalive, section.get("client_keepalive", keepalive));
    set(&mut own.backend_keepalive, section.get("backend_keepalive", keepalive));
    set(&mut own.accept_proxy, section.get("accept_proxy", value::networks));
    set(&mut own.source, section.get("source", source));
    let version = section.get("send_proxy", |value| value::choice(value, &["off", "v1", "v2"]));
    set(&mut own.send_proxy, version.map(|word| word.parse().ok()));
    own
}

pub(super) fn service(section: &Section<'_, '_>, defaults: &Sessions, http: &Http) -> Option<Service> {
    let own = sessions(section, defaults);
    let role = match section.raw("role") {
        Some(_) => section.get("role", |value| value::choice(value, ROLES)),
        None => Some("tcp"),
    };
    misplaced(section, role);
    let own_http = section.section("http", keys::HTTP, "[services.NAME.http]");
    let http = own_http.map_or_else(|| http.clone(), |section| read_http::http(&section, http));
    let place = |value: At<'_, '_>| {
        let what = "a port or address:port, such as 80 or \"127.0.0.1:80\",";
        let text = value::text_or_number(value, what)?;
        text.parse().map_err(|error: super::WordError| Wrong::at(value, error.to_string()))
    };
    let listen = section.get("listen", |value| {
        let places = value::each(value, place)?;
        if places.is_empty() { Err(Wrong::at(value, "expected one place to listen at least")) } else { Ok(places) }
    });
    let pool = section.get("pool", |value| value::parsed(value, "the name of a pool"));
    for (key, example) in [("listen", "listen = 80"), ("pool", "pool = \"NAME\"")] {
        section.require(key, example);
    }
    let (mut listen, pool) = (listen?.into_iter(), pool?);
    let first = Service::new(listen.next()?, pool, own);
    let service = listen.fold(first, Service::with_listen);
    Some(if role == Some("http") { service.with_http(http) } else { service })
}

fn keepalive(value: At<'_, '_>) -> Result<Option<Keepalive>, Wrong> {
    match value::text(value, "idle seconds, seconds between probes and their number, such as \"60,10,3\",")? {
        "system" => Ok(None),
        _ => {
            let or_none = |wrong: Wrong| Wrong { message: format!("{}, or \"system\"", wrong.message), ..wrong };
            value::parsed(value, "").map(Some).map_err(or_none)
        }
    }
}

fn source(value: At<'_, '_>) -> Result<Option<IpAddr>, Wrong> {
    match value::text(value, "an address of this machine, or \"any\",")? {
        "any" => Ok(None),
        text => {
            let wrong = |_| Wrong::at(value, "expected an IP address of this machine, or \"any\"");
            text.parse().map(Some).map_err(wrong)
        }
    }
}
