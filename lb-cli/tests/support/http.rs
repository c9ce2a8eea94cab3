//! A client of control over HTTP that knows as much of it as it has to.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    os::unix::net::UnixStream,
};

use serde_json::Value;

use super::PATIENCE;

/// Where control over HTTP is.
#[derive(Clone, Debug)]
pub(crate) enum Http {
    Tcp(SocketAddr),
    Unix(String),
}

/// What was answered.
#[derive(Debug)]
pub(crate) struct Answered {
    pub(crate) status: u16,
    pub(crate) body: String,
}

impl Http {
    /// As `control.http` has it.
    pub(crate) fn word(&self) -> String {
        match self {
            Self::Tcp(address) => address.to_string(),
            Self::Unix(path) => format!("unix:{path}"),
        }
    }

    pub(crate) fn get(&self, path: &str) -> Answered {
        self.ask(&format!("GET {path}"), "", "").unwrap()
    }

    pub(crate) fn post(&self, path: &str, body: &str) -> Answered {
        self.ask(&format!("POST {path}"), "Content-Type: application/json\r\n", body).unwrap()
    }

    pub(crate) fn with_token(&self, path: &str, token: &str) -> Answered {
        self.ask(&format!("GET {path}"), &format!("Authorization: Bearer {token}\r\n"), "").unwrap()
    }

    /// What this is answered; an error when nobody does.
    pub(crate) fn ask(&self, request: &str, headers: &str, body: &str) -> std::io::Result<Answered> {
        let text = format!(
            "{request} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: {}\r\n{headers}\r\n{body}",
            body.len()
        );
        match self {
            Self::Tcp(address) => {
                let stream = TcpStream::connect(address)?;
                stream.set_read_timeout(Some(PATIENCE))?;
                exchange(stream, &text)
            }
            Self::Unix(path) => {
                let stream = UnixStream::connect(path)?;
                stream.set_read_timeout(Some(PATIENCE))?;
                exchange(stream, &text)
            }
        }
    }
}

fn exchange(mut stream: impl Read + Write, request: &str) -> std::io::Result<Answered> {
    stream.write_all(request.as_bytes())?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    let (head, body) = text.split_once("\r\n\r\n").ok_or(std::io::ErrorKind::UnexpectedEof)?;
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
    Ok(Answered { status: status.unwrap_or_else(|| panic!("no status: {head}")), body: body.to_owned() })
}

impl Answered {
    /// What is told when all went well.
    pub(crate) fn good(self) -> String {
        assert_eq!(self.status, 200, "{}", self.body);
        self.body
    }

    pub(crate) fn json(self) -> Value {
        serde_json::from_str(&self.good()).unwrap()
    }

    /// Why not.
    pub(crate) fn error(&self) -> String {
        let said: Value = serde_json::from_str(&self.body).unwrap();
        said["error"].as_str().unwrap_or_else(|| panic!("no error: {said}")).to_owned()
    }
}
