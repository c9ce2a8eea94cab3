//! Does it answer a line of its own protocol as it should?

use std::{net::IpAddr, time::Duration};

use async_trait::async_trait;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use super::{Answer, Expect, Probe, Target, Tcp, expect::Heard, tcp::explain};

/// What is read at most.
const MOST_BYTES: usize = 4 * 1024;

/// Says something over a plain connection of its own, and listens to what is said there.
///
/// Where a [part](Expect::Part) is expected it passes as soon as that has come, whatever line it stands in: no word of an
/// application is understood then. Otherwise it is the first line that counts,
/// or as many as are expected, and there the [words](lb_core::health::Said) that applications say of themselves are
/// understood: `expect=UP` asks an agent that says `UP 40%` or `DOWN: no database` to whoever connects. Where nothing is
/// expected any line will do. At most 4 KiB are read.
/// ```no_run
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use lb_net::probe::{Answer, Exchange, Expect, Probe, Target};
/// let redis = Exchange::default().with_send("PING\r\n").with_expect(Expect::Part("+PONG".into()));
/// let target = Target::new("alpha:6379", "127.0.0.1:6379".parse()?);
/// assert_eq!(redis.probe(&target).await, Answer::Passed);
/// # Ok(()) }
/// ```
#[derive(Clone, Debug, Default)]
pub struct Exchange {
    send: Vec<u8>,
    expect: Option<Expect>,
    patience: Option<Duration>,
    tcp: Tcp,
}

impl Exchange {
    /// With this said first, before anything has been heard (`send=`).
    #[must_use]
    pub fn with_send(self, bytes: impl Into<Vec<u8>>) -> Self {
        Self { send: bytes.into(), ..self }
    }

    /// With this answer expected (`expect=`, `contains=`).
    #[must_use]
    pub fn with_expect(self, expect: impl Into<Expect>) -> Self {
        Self { expect: Some(expect.into()), ..self }
    }

    /// With a time after which what has come until then is all there is. Without one nothing would be known of it when the
    /// time of the check is over.
    #[must_use]
    pub fn with_patience(self, patience: Duration) -> Self {
        Self { patience: Some(patience), ..self }
    }

    /// With connections that come from this address of ours (balance's `-B`).
    #[must_use]
    pub fn with_source(self, source: IpAddr) -> Self {
        Self { tcp: self.tcp.with_source(source), ..self }
    }

    async fn talk(&self, target: &Target, heard: &mut Vec<u8>) -> Answer {
        match self.tcp.connect(target).await {
            Ok(mut stream) => {
                // Who closes in the middle of it may have said why. And who is gone has nothing to say.
                let _ = stream.write_all(&self.send).await;
                self.listen(stream, heard).await
            }
            Err(answer) => answer,
        }
    }

    async fn listen(&self, stream: TcpStream, heard: &mut Vec<u8>) -> Answer {
        let mut stream = stream.take(MOST_BYTES as u64);
        loop {
            match stream.read_buf(heard).await {
                Ok(0) if heard.is_empty() => {
                    return Answer::Failed("it closed the connection without an answer".into());
                }
                Ok(0) => return self.judge_all(heard),
                Ok(_) => {}
                Err(error) => return Answer::Failed(explain(&error)),
            }
            if let Some(answer) = self.judge(heard) {
                return answer;
            }
        }
    }

    /// The answer, if no more needs to be heard for it.
    fn judge(&self, heard: &[u8]) -> Option<Answer> {
        match &self.expect {
            Some(expect @ Expect::Part(_)) => expect.is_met_by(heard).then_some(Answer::Passed),
            expect => self.lines(heard).map(|lines| Heard::Whole(lines).judge(expect.as_ref(), None)),
        }
    }

    /// The answer, once no more comes.
    fn judge_all(&self, heard: &[u8]) -> Answer {
        let all = if heard.len() < MOST_BYTES { Heard::Whole(heard) } else { Heard::Part(heard, MOST_BYTES / 1024) };
        match &self.expect {
            Some(Expect::Part(_)) => all.missed(self.expect.as_ref()).unwrap_or(Answer::Passed),
            expect => self.judge(heard).unwrap_or_else(|| all.judge(expect.as_ref(), None)),
        }
    }

    /// As many lines as are expected, once they are whole. How they came in pieces says nothing.
    fn lines<'a>(&self, heard: &'a [u8]) -> Option<&'a [u8]> {
        let more = self.expect.as_ref().map_or(0, |expect| expect.text().trim_ascii().matches('\n').count());
        let begun = heard.trim_ascii_start();
        let mut ends = begun.iter().enumerate().filter(|(_, byte)| **byte == b'\n').map(|(at, _)| at);
        ends.nth(more).and_then(|end| begun.get(..end))
    }
}

#[async_trait]
impl Probe for Exchange {
    async fn probe(&self, target: &Target) -> Answer {
        let mut heard = Vec::new();
        let Some(patience) = self.patience else { return self.talk(target, &mut heard).await };
        match timeout(patience, self.talk(target, &mut heard)).await {
            Ok(answer) => answer,
            Err(_) if heard.is_empty() => Answer::Silent(format!("no answer within {patience:?}")),
            Err(_) => self.judge_all(&heard),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn it_does_not_matter_in_which_pieces_an_answer_comes(
            said in "(UP|DOWN|ok|é| |\r\n|\n|40%|: |x){0,9}", piece in 1..9_usize, expect in "UP|ok|ok\nok|x", part: bool
        ) {
            let expect = if part { Expect::Part(expect) } else { Expect::Whole(expect) };
            let exchange = Exchange::default().with_expect(expect);
            let mut heard = Vec::new();
            let first = said.as_bytes().chunks(piece).find_map(|piece| {
                heard.extend_from_slice(piece);
                exchange.judge(&heard)
            });
            let in_pieces = first.unwrap_or_else(|| exchange.judge_all(&heard));
            prop_assert_eq!(in_pieces, exchange.judge_all(said.as_bytes()));
        }
    }
}
