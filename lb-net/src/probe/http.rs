//! Does the application say that it is well? One plain GET.

use std::{io, net::IpAddr};

use async_trait::async_trait;
use lb_core::BackendConfig;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use super::{
    Answer, Probe, StatusSet, Target, Tcp,
    reply::{Broken, Reply, Said},
    tcp::explain,
};

/// The word by which an application says that it wants no work.
const DOWN: &[u8] = b"DOWN";
/// What is shown of a wrong body.
const SHOWN: usize = 40;

/// Asks for a path over HTTP/1.1, on a connection of its own, and judges the status and, where that is wanted, the body.
///
/// It passes when the status is a good one and the body, without the white space around it, is what is expected. A body of
/// `DOWN`, whatever the status, is the application's own word. Redirects are not followed. At most 64 KiB are read: a
/// longer answer is judged by its status, and is not what was expected where a body is.
/// ```no_run
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use lb_net::probe::{Answer, Http, Probe, Target};
/// let probe = Http::new("/health").with_expect("UP").with_status("200,204".parse()?);
/// let target = Target::new("alpha:8080", "127.0.0.1:8080".parse()?);
/// assert_eq!(probe.probe(&target).await, Answer::Passed);
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
pub struct Http {
    path: String,
    expect: Option<String>,
    status: StatusSet,
    tcp: Tcp,
}

impl Http {
    /// Asks for this path, with its query if it has one. What a request line cannot hold is written as `%20` and the like.
    #[must_use]
    pub fn new(path: impl Into<String>) -> Self {
        Self { path: path.into(), expect: None, status: StatusSet::default(), tcp: Tcp::default() }
    }

    /// With this body expected (`expect=`).
    #[must_use]
    pub fn with_expect(self, body: impl Into<String>) -> Self {
        Self { expect: Some(body.into()), ..self }
    }

    /// With these statuses as good ones (`status=`).
    #[must_use]
    pub fn with_status(self, status: StatusSet) -> Self {
        Self { status, ..self }
    }

    /// With connections that come from this address of ours (balance's `-B`).
    #[must_use]
    pub fn with_source(self, source: IpAddr) -> Self {
        Self { tcp: self.tcp.with_source(source), ..self }
    }

    fn request(&self, target: &Target) -> String {
        let (path, host) = (encoded(&self.path), host(target));
        format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: lb\r\nAccept: */*\r\nConnection: close\r\n\r\n")
    }

    async fn ask(&self, stream: &mut TcpStream, target: &Target) -> io::Result<Answer> {
        stream.write_all(self.request(target).as_bytes()).await?;
        let (mut reply, mut buffer) = (Reply::default(), vec![0; 8 * 1024]);
        loop {
            let room = reply.room().min(buffer.len());
            let count = stream.read(&mut buffer[..room]).await?;
            let nothing = count == 0 && reply.is_empty();
            match reply.take(&buffer[..count]) {
                Ok(Some(said)) => return Ok(self.judge(&said)),
                Ok(None) => {}
                Err(Broken::CutShort) if nothing => {
                    return Ok(Answer::Failed("it closed the connection without an answer".into()));
                }
                Err(broken) => return Ok(Answer::Failed(broken.reason().into())),
            }
        }
    }

    fn judge(&self, said: &Said<'_>) -> Answer {
        let body = said.body.map(<[u8]>::trim_ascii);
        if body == Some(DOWN) {
            return Answer::Said(lb_core::health::Said::Down, None);
        }
        if !self.status.contains(said.status) {
            return Answer::Failed(format!("status {}", said.status));
        }
        match (&self.expect, body) {
            (Some(expect), Some(body)) if body == expect.trim_ascii().as_bytes() => Answer::Passed,
            (Some(expect), Some(body)) => Answer::Failed(format!("it says '{}' instead of '{expect}'", shown(body))),
            (Some(expect), None) => Answer::Failed(format!("it says more than 64 KiB instead of '{expect}'")),
            (None, _) => Answer::Passed,
        }
    }
}

#[async_trait]
impl Probe for Http {
    async fn probe(&self, target: &Target) -> Answer {
        let mut stream = match self.tcp.connect(target).await {
            Ok(stream) => stream,
            Err(answer) => return answer,
        };
        self.ask(&mut stream, target).await.unwrap_or_else(|error| Answer::Failed(explain(&error)))
    }
}

/// The path as a request line can hold it, so that no path makes another request of it.
fn encoded(path: &str) -> String {
    let mut encoded = String::from(if path.starts_with('/') { "" } else { "/" });
    for byte in path.bytes() {
        if byte.is_ascii_graphic() {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}

/// The backend's host as configured, and the port that is asked; the address where the name cannot stand in a header.
fn host(target: &Target) -> String {
    let backend = BackendConfig::new(target.name.as_str());
    let (host, _) = backend.host_and_port();
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~:".contains(&byte);
    let host = if !host.is_empty() && host.bytes().all(allowed) {
        host.to_owned()
    } else {
        target.address.ip().to_canonical().to_string()
    };
    let host = if host.contains(':') { format!("[{host}]") } else { host };
    if target.address.port() == 80 { host } else { format!("{host}:{}", target.address.port()) }
}

/// The beginning of a body, fit for a line of a log.
fn shown(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(&body[..body.len().min(4 * SHOWN)]);
    let mut shown: String = text.chars().take(SHOWN).flat_map(char::escape_debug).collect();
    if text.chars().count() > SHOWN || body.len() > 4 * SHOWN {
        shown.push_str("...");
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_host_is_the_name_as_configured_and_the_port_that_is_asked() {
        let host = |name, address: &str| host(&Target::new(name, address.parse().unwrap()));
        assert_eq!(host("alpha:http", "10.0.0.1:80"), "alpha");
        assert_eq!(host("alpha", "10.0.0.1:8080"), "alpha:8080");
        assert_eq!(host("[2001:db8::1]:81", "[2001:db8::1]:81"), "[2001:db8::1]:81");
        assert_eq!(host("a\r\nX: y", "10.0.0.1:81"), "10.0.0.1:81");
        assert_eq!(host("", "[::ffff:10.0.0.1]:80"), "10.0.0.1");
    }

    #[test]
    fn a_wrong_body_is_shown_in_part_and_on_one_line() {
        assert_eq!(shown(b"a\nb"), "a\\nb");
        assert_eq!(shown(&[b'x'; 500]).len(), SHOWN + 3);
        assert!(shown(&[0xff; 500]).chars().all(|c| !c.is_control()));
    }
}
