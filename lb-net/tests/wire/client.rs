//! A client that says what it is told to and reads strictly.

use std::{
    io::Write as _,
    net::{IpAddr, Shutdown, SocketAddr, TcpStream},
    thread,
    time::Duration,
};

use rustix::net::{bind, connect, sockopt};

use super::{Broken, End, Message, Reader, show, socket};

/// A client that says what it is told to and reads strictly.
#[derive(Debug)]
pub(crate) struct Client {
    reader: Reader,
}

impl Client {
    pub(crate) fn to(front: SocketAddr) -> Self {
        Self { reader: Reader::new(TcpStream::connect(front).unwrap()) }
    }

    /// With this address of its own.
    pub(crate) fn from(own: IpAddr, front: SocketAddr) -> Self {
        let socket = socket();
        bind(&socket, &SocketAddr::from((own, 0))).unwrap();
        connect(&socket, &front).unwrap();
        Self { reader: Reader::new(TcpStream::from(socket)) }
    }

    /// One whose system takes hardly anything that it does not read.
    pub(crate) fn narrow(front: SocketAddr) -> Self {
        let socket = socket();
        sockopt::set_socket_recv_buffer_size(&socket, 4096).unwrap();
        connect(&socket, &front).unwrap();
        Self { reader: Reader::new(TcpStream::from(socket)) }
    }

    /// Says this, as far as anybody listens.
    pub(crate) fn say(&mut self, bytes: impl AsRef<[u8]>) -> &mut Self {
        let _ = self.reader.stream.write_all(bytes.as_ref());
        self
    }

    /// Says this in pieces that are likely to be read one by one; nothing depends on it.
    pub(crate) fn say_slowly(&mut self, bytes: impl AsRef<[u8]>, piece: usize) -> &mut Self {
        for piece in bytes.as_ref().chunks(piece) {
            self.say(piece);
            thread::sleep(Duration::from_micros(300));
        }
        self
    }

    /// Says this while somebody listens: whether all of it went.
    pub(crate) fn can_say(&mut self, bytes: impl AsRef<[u8]>) -> bool {
        self.reader.stream.write_all(bytes.as_ref()).is_ok()
    }

    /// The whole answer to a request with this method.
    pub(crate) fn answer(&mut self, method: &str) -> Message {
        self.try_answer(method).unwrap_or_else(|broken| panic!("no answer: {:?} {}", broken.end, show(&broken.got)))
    }

    pub(crate) fn try_answer(&mut self, method: &str) -> Result<Message, Broken> {
        let mut answer = self.reader.answer_head(method)?;
        self.reader.body(&mut answer)?;
        Ok(answer)
    }

    /// An answer's head; its body is still to come.
    pub(crate) fn head(&mut self, method: &str) -> Message {
        let head = self.reader.answer_head(method);
        head.unwrap_or_else(|broken| panic!("no answer: {:?} {}", broken.end, show(&broken.got)))
    }

    /// The answer to this, which has this method.
    pub(crate) fn ask(&mut self, request: impl AsRef<[u8]>) -> Message {
        let method = request.as_ref().split(|byte| *byte == b' ').next().unwrap_or_default().to_vec();
        self.say(request).answer(&String::from_utf8_lossy(&method))
    }

    /// Exactly so many bytes, whatever they are.
    pub(crate) fn bytes(&mut self, count: usize) -> Vec<u8> {
        let bytes = self.reader.bytes(count);
        bytes.unwrap_or_else(|broken| panic!("{:?} after {}", broken.end, show(&broken.got)))
    }

    /// How the connection ends, without another byte.
    pub(crate) fn end(&mut self) -> End {
        let (end, rest) = self.rest();
        assert!(rest.is_empty(), "it goes on: {}", show(&rest));
        end
    }

    /// That it ends, in whatever way, without another byte.
    pub(crate) fn ends(&mut self) {
        assert_ne!(self.end(), End::Hung, "it does not end");
    }

    /// That it ends, perhaps after a refusal of what was asked.
    pub(crate) fn ends_or_refuses(&mut self) {
        let (end, heard) = self.rest();
        assert_ne!(end, End::Hung, "it does not end");
        assert!(heard.is_empty() || heard.starts_with(b"HTTP/1.1 4"), "{}", show(&heard));
    }

    /// What comes until the end.
    pub(crate) fn rest(&mut self) -> (End, Vec<u8>) {
        self.reader.rest()
    }

    /// All that ever came.
    pub(crate) fn heard(&self) -> &[u8] {
        &self.reader.all
    }

    /// Says that nothing more is said.
    pub(crate) fn finish(&mut self) -> &mut Self {
        let _ = self.reader.stream.shutdown(Shutdown::Write);
        self
    }

    /// Whether something is to be read within this time.
    pub(crate) fn hears_within(&mut self, time: Duration) -> bool {
        self.reader.stream.set_read_timeout(Some(time)).unwrap();
        let heard = self.reader.stream.peek(&mut [0]).is_ok_and(|count| count > 0);
        self.reader.stream.set_read_timeout(Some(super::PATIENCE)).unwrap();
        heard
    }

    pub(crate) fn local(&self) -> SocketAddr {
        self.reader.stream.local_addr().unwrap()
    }

    pub(crate) fn reset(self) {
        sockopt::set_socket_linger(&self.reader.stream, Some(Duration::ZERO)).unwrap();
    }
}
