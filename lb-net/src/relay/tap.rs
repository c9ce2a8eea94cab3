//! Someone who listens in on a session.

/// Which way bytes go.
/// ```
/// use lb_net::relay::Direction;
/// let arrow = |direction| if direction == Direction::ToUpstream { "->" } else { "-<" };
/// assert_eq!(arrow(Direction::ToClient), "-<");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From the client to the backend.
    ToUpstream,
    /// From the backend to the client.
    ToClient,
}

/// Sees what a session moves (balance's `-p`). A session with a tap copies all its bytes and never splices.
/// ```
/// use lb_net::relay::{Direction, Tap};
/// struct Count(usize);
/// impl Tap for Count {
///     fn bytes(&mut self, direction: Direction, bytes: &[u8]) {
///         self.0 += usize::from(direction == Direction::ToClient) * bytes.len();
///     }
/// }
/// ```
pub trait Tap: Send {
    /// Bytes that one side said, in order, as they were read. It is called inside the session, so it must not block.
    fn bytes(&mut self, direction: Direction, bytes: &[u8]);
}

/// Hears one direction, where a session has a tap.
pub(super) struct Ear<'a> {
    pub(super) tap: Option<&'a mut Box<dyn Tap>>,
    pub(super) direction: Direction,
}

impl Ear<'_> {
    pub(super) fn hear(&mut self, bytes: &[u8]) {
        if let Some(tap) = &mut self.tap {
            tap.bytes(self.direction, bytes);
        }
    }
}
