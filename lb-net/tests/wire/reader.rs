//! Reads messages strictly: what a careless peer would forgive is an error here.

use std::{
    io::{ErrorKind, Read as _},
    net::TcpStream,
};

use super::{Framing, Message, PATIENCE, show, strict};

/// How a connection ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// In order, by a FIN.
    Closed,
    /// By a reset.
    Reset,
    /// Not at all.
    Hung,
    /// With something that no message is.
    Malformed(String),
}

/// No whole message.
#[derive(Clone, Debug)]
pub(crate) struct Broken {
    pub(crate) end: End,
    /// What there was of it.
    pub(crate) got: Vec<u8>,
}

/// A connection and what was read ahead.
#[derive(Debug)]
pub(crate) struct Reader {
    pub(crate) stream: TcpStream,
    /// All bytes that ever came.
    pub(crate) all: Vec<u8>,
    /// Where those begin that nobody has looked at.
    at: usize,
    /// Where the message begins that is being read.
    begin: usize,
}

impl Reader {
    pub(crate) fn new(stream: TcpStream) -> Self {
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        Self { stream, all: Vec::new(), at: 0, begin: 0 }
    }

    /// At least one more byte.
    pub(crate) fn more(&mut self) -> Result<(), End> {
        let mut room = [0; 64 * 1024];
        match self.stream.read(&mut room) {
            Ok(0) => Err(End::Closed),
            Ok(count) => {
                self.all.extend_from_slice(&room[..count]);
                Ok(())
            }
            Err(error) => match error.kind() {
                ErrorKind::WouldBlock | ErrorKind::TimedOut => Err(End::Hung),
                ErrorKind::Interrupted => self.more(),
                _ => Err(End::Reset),
            },
        }
    }

    /// Some of so many bytes that nobody keeps: it says how many are left.
    pub(crate) fn skip(&mut self, left: &mut usize) -> Result<(), End> {
        if self.at == self.all.len() {
            self.more()?;
        }
        let some = (self.all.len() - self.at).min(*left);
        self.all.drain(self.at..self.at + some);
        *left -= some;
        Ok(())
    }

    /// What came and belongs to no message.
    pub(crate) fn rest(&mut self) -> (End, Vec<u8>) {
        let end = loop {
            if let Err(end) = self.more() {
                break end;
            }
        };
        let rest = self.all.split_at(self.at).1.to_vec();
        self.at = self.all.len();
        (end, rest)
    }

    /// Exactly so many bytes, whatever they are.
    pub(crate) fn bytes(&mut self, count: usize) -> Result<Vec<u8>, Broken> {
        self.begin = self.at;
        self.take(count)
    }

    fn broken(&self, end: End) -> Broken {
        Broken { end, got: self.all.split_at(self.begin).1.to_vec() }
    }

    fn malformed(&self, why: &str) -> Broken {
        let got = show(self.all.split_at(self.begin).1);
        self.broken(End::Malformed(format!("{why}: {got}")))
    }

    fn take(&mut self, count: usize) -> Result<Vec<u8>, Broken> {
        while self.all.len() - self.at < count {
            self.more().map_err(|end| self.broken(end))?;
        }
        self.at += count;
        Ok(self.all[self.at - count..self.at].to_vec())
    }

    /// A line without its end, which is CR LF and nothing else.
    fn line(&mut self) -> Result<String, Broken> {
        let begin = self.at;
        loop {
            if let Some(length) = self.all[begin..].iter().position(|byte| *byte == b'\n') {
                self.at = begin + length + 1;
                let line = self.all[begin..begin + length].strip_suffix(b"\r").map(<[u8]>::to_vec);
                let line = line.ok_or_else(|| self.malformed("a line without CR"))?;
                if line.iter().any(|byte| matches!(byte, b'\r' | 0)) {
                    return Err(self.malformed("CR or NUL within a line"));
                }
                return Ok(String::from_utf8_lossy(&line).into_owned());
            }
            self.more().map_err(|end| self.broken(end))?;
        }
    }

    /// Fields up to the empty line.
    fn fields(&mut self) -> Result<Vec<(String, String)>, Broken> {
        let mut fields = Vec::new();
        loop {
            let line = self.line()?;
            if line.is_empty() {
                return Ok(fields);
            }
            fields.push(strict::field(&line).map_err(|why| self.malformed(&why))?);
        }
    }

    fn head(&mut self) -> Result<Message, Broken> {
        self.begin = self.at;
        let (first, fields) = (self.line()?, self.fields()?);
        let head = self.all[self.begin..self.at].to_vec();
        Ok(Message { head, first, fields, framing: Framing::None, body: Vec::new(), trailers: Vec::new() })
    }

    /// A request's head; its body is still to come.
    pub(crate) fn request_head(&mut self) -> Result<Message, Broken> {
        let mut head = self.head()?;
        strict::request(&head).map_err(|why| self.malformed(&why))?;
        head.framing = strict::framing(&head, Framing::None).map_err(|why| self.malformed(&why))?;
        Ok(head)
    }

    /// The head of the answer to a request with this method; its body is still to come.
    pub(crate) fn answer_head(&mut self, method: &str) -> Result<Message, Broken> {
        let mut head = self.head()?;
        strict::answer(&head).map_err(|why| self.malformed(&why))?;
        let framing = strict::framing(&head, Framing::UntilClose).map_err(|why| self.malformed(&why))?;
        let has_none = method == "HEAD" || head.status() < 200 || matches!(head.status(), 204 | 304);
        head.framing = if has_none { Framing::None } else { framing };
        Ok(head)
    }

    /// What belongs to this head.
    pub(crate) fn body(&mut self, of: &mut Message) -> Result<(), Broken> {
        match of.framing {
            Framing::None => {}
            Framing::Length(length) => of.body = self.take(length)?,
            Framing::Chunked => self.chunks(of)?,
            Framing::UntilClose => match self.rest() {
                (End::Closed, body) => of.body = body,
                (end, _) => return Err(self.broken(end)),
            },
        }
        Ok(())
    }

    fn chunks(&mut self, of: &mut Message) -> Result<(), Broken> {
        loop {
            let line = self.line()?;
            let size = strict::chunk_size(&line).map_err(|why| self.malformed(&why))?;
            if size == 0 {
                of.trailers = self.fields()?;
                return Ok(());
            }
            of.body.extend(self.take(size)?);
            if self.take(2)? != b"\r\n" {
                return Err(self.malformed("a chunk that does not end where it should"));
            }
        }
    }
}
