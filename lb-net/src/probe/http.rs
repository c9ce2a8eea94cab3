//! Does the application say that it is well? One plain GET.

use std::{io, net::IpAddr};

use async_trait::async_trait;
use lb_core::BackendConfig;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use super::{
    Answer, Expect, Header, Host, Probe, StatusSet, Target, Tcp,
    reply::{Answered, Broken, Reply},
    tcp::explain,
};

/// Asks for a path over HTTP/1.1, on a connection of its own, and judges the status and, where that is wanted, the body.
///
/// It passes when the status is a good one and the body is what is [expected](Expect). A body that is one of the words by
/// which applications [say](lb_core::health::Said) how they are, with or without a reason, is the application's own word:
/// `UP` and a percentage with a good status, and where they are what is expected; `DRAIN`, `DOWN` and `MAINT` in any case.
/// Redirects are not followed. At most 64 KiB are read: what is longer is judged by its status and by what of it was read.
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
    host: Option<Host>,
    headers: Vec<Header>,
    expect: Option<Expect>,
    status: StatusSet,
    tcp: Tcp,
}

impl Http {
    /// Asks for this path, with its query if it has one. What a request line cannot hold is written as `%20` and the like.
    #[must_use]
    pub fn new(path: impl Into<String>) -> Self {
        let (path, status, tcp) = (path.into(), StatusSet::default(), Tcp::default());
        Self { path, host: None, headers: Vec::new(), expect: None, status, tcp }
    }

    /// With this body expected (`expect=`, `contains=`).
    #[must_use]
    pub fn with_expect(self, body: impl Into<Expect>) -> Self {
        Self { expect: Some(body.into()), ..self }
    }

    /// With this header too (`header=`). `User-Agent` and `Accept` take the place of ours.
    #[must_use]
    pub fn with_header(mut self, header: Header) -> Self {
        self.headers.push(header);
        self
    }

    /// With this host in place of the backend's name and port (`host=`).
    #[must_use]
    pub fn with_host(self, host: Host) -> Self {
        Self { host: Some(host), ..self }
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
        let host = self.host.as_ref().map_or_else(|| host(target), Host::to_string);
        let mut request = format!("GET {} HTTP/1.1\r\nHost: {host}\r\n", encoded(&self.path));
        for (name, value) in [("User-Agent", "lb"), ("Accept", "*/*")] {
            if !self.headers.iter().any(|header| header.name().eq_ignore_ascii_case(name)) {
                request.push_str(&format!("{name}: {value}\r\n"));
            }
        }
        self.headers.iter().for_each(|header| request.push_str(&format!("{header}\r\n")));
        request + "Connection: close\r\n\r\n"
    }

    async fn ask(&self, stream: &mut TcpStream, target: &Target) -> io::Result<Answer> {
        stream.write_all(self.request(target).as_bytes()).await?;
        let (mut reply, mut buffer) = (Reply::default(), vec![0; 8 * 1024]);
        loop {
            let room = reply.room().min(buffer.len());
            let count = stream.read(&mut buffer[..room]).await?;
            let nothing = count == 0 && reply.is_empty();
            match reply.take(&buffer[..count]) {
                Ok(Some(answered)) => return Ok(self.judge(answered)),
                Ok(None) => {}
                Err(Broken::CutShort) if nothing => {
                    return Ok(Answer::Failed("it closed the connection without an answer".into()));
                }
                Err(broken) => return Ok(Answer::Failed(broken.reason().into())),
            }
        }
    }

    fn judge(&self, Answered { status, body }: Answered<'_>) -> Answer {
        let unfit = (!self.status.contains(status)).then(|| format!("status {status}"));
        body.judge(self.expect.as_ref(), unfit)
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
}
