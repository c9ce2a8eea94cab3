//! How each product is set up: as someone who runs it would, with equal time limits, forwarding fields and counters, and no logs.
use crate::place::Place;
use crate::test::Layer;

/// Descriptors a proxy needs beside those of its connections.
pub(crate) const SPARE_DESCRIPTORS: u64 = 250;

/// HAProxy opens a pipe for each direction that splices.
const SPLICE_CONNECTIONS: u64 = 1000;

/// nginx reserves room for each that it may have.
const NGINX_CONNECTIONS: u64 = 20_000;

/// `lb` as it is, in the foreground.
pub(crate) fn lb(place: &Place<'_>) -> Vec<String> {
    let workers = place.workers.to_string();
    let layer: &[&str] = if place.layer == Layer::Http { &["--http"] } else { &[] };
    let first = [["-f", "-b", "127.0.0.1", "--workers", &workers].as_slice(), layer].concat();
    let backends = place.backends.iter().map(|backend| format!("127.0.0.1:{backend}"));
    first.into_iter().map(str::to_owned).chain([place.port.to_string()]).chain(backends).collect()
}

/// HAProxy; its counters are always on.
pub(crate) fn haproxy(place: &Place<'_>, splice: bool) -> String {
    let &Place { layer, port, workers, descriptors, .. } = place;
    let most = if splice { SPLICE_CONNECTIONS } else { (descriptors / 2).saturating_sub(SPARE_DESCRIPTORS).max(100) };
    let own = match (layer, splice) {
        (Layer::Tcp, false) => "mode tcp\n  timeout client 1h\n  timeout server 1h\n",
        (Layer::Tcp, true) => {
            "mode tcp\n  timeout client 1h\n  timeout server 1h\n  option splice-request\n  option splice-response\n"
        }
        (Layer::Http, _) => {
            "mode http\n  timeout client 60s\n  timeout server 60s\n  timeout http-request 10s\n  \
             timeout http-keep-alive 75s\n  timeout queue 10s\n  http-reuse always\n  option forwardfor\n  \
             http-request set-header X-Forwarded-Proto http\n  \
             http-request set-header X-Forwarded-Host %[req.hdr(host)]\n  \
             http-request set-header X-Forwarded-Port %[dst_port]\n"
        }
    };
    let servers = each(place, |index, backend| format!("  server origin{index} 127.0.0.1:{backend}\n"));
    format!(
        "global\n  nbthread {workers}\n  maxconn {most}\n\
         listen proxy\n  bind 127.0.0.1:{port}\n  balance roundrobin\n  timeout connect 5s\n  {own}{servers}"
    )
}

/// nginx at the HTTP layer. What it would keep on disk goes into a folder of its own.
pub(crate) fn nginx(place: &Place<'_>) -> String {
    let (port, workers, folder) = (place.port, place.workers, place.folder.display());
    let connections = place.descriptors.min(NGINX_CONNECTIONS);
    let servers = each(place, |_, backend| format!("server 127.0.0.1:{backend}; "));
    let folders = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"];
    let folders = folders.map(|name| format!("{name}_temp_path {folder}/{name}; ")).concat();
    format!(
        "daemon off; worker_processes {workers}; pid {folder}/pid; error_log stderr crit;
         events {{ worker_connections {connections}; multi_accept on; }}
         http {{
           {folders}
           access_log off; keepalive_timeout 75s; keepalive_requests 1000000000;
           client_max_body_size 0; proxy_request_buffering off; proxy_max_temp_file_size 0;
           upstream origins {{ {servers} keepalive 256; keepalive_requests 1000000000; }}
           server {{
             listen 127.0.0.1:{port} backlog=4096 reuseport;
             location / {{
               proxy_pass http://origins; proxy_http_version 1.1; proxy_connect_timeout 5s;
               proxy_set_header Connection \"\"; proxy_set_header Host $http_host;
               proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
               proxy_set_header X-Forwarded-Proto $scheme; proxy_set_header X-Forwarded-Host $http_host;
               proxy_set_header X-Forwarded-Port $server_port;
             }}
           }}
         }}\n"
    )
}

/// Caddy at the HTTP layer; it sends X-Forwarded-For, -Proto and -Host by itself.
pub(crate) fn caddy(place: &Place<'_>) -> String {
    let port = place.port;
    let backends = each(place, |_, backend| format!("127.0.0.1:{backend} "));
    format!(
        "{{\n  admin off\n  auto_https off\n  persist_config off\n  log {{\n    level ERROR\n  }}\n}}\n\
         http://:{port} {{\n  bind 127.0.0.1\n  reverse_proxy {backends}{{\n    lb_policy round_robin\n    \
         header_up X-Forwarded-Port {port}\n    transport http {{\n      dial_timeout 5s\n      \
         keepalive_idle_conns_per_host 256\n      compression off\n    }}\n  }}\n}}\n"
    )
}

fn each(place: &Place<'_>, text: impl Fn(usize, u16) -> String) -> String {
    place.backends.iter().enumerate().map(|(index, backend)| text(index, *backend)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    #[test]
    fn lb_is_started_in_the_foreground_with_its_workers() {
        let folder = Path::new("/");
        let place = Place { layer: Layer::Tcp, port: 80, backends: &[81, 82], workers: 1, descriptors: 100, folder };
        assert_eq!(lb(&place).join(" "), "-f -b 127.0.0.1 --workers 1 80 127.0.0.1:81 127.0.0.1:82");
        let http = Place { layer: Layer::Http, workers: 2, ..place };
        assert_eq!(lb(&http).join(" "), "-f -b 127.0.0.1 --workers 2 --http 80 127.0.0.1:81 127.0.0.1:82");
    }
}
