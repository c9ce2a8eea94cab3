//! The signals by which a process is told to stop.

use std::{io, sync::Arc};

use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::Mutex,
};

/// The first and the second signal to stop (TERM or INT), for [`Shutdown::run`](super::Shutdown::run). From now on these
/// signals do nothing else.
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> std::io::Result<()> {
/// # use lb_net::health_endpoint::{Health, Shutdown};
/// let (first, second) = lb_net::health_endpoint::signals()?;
/// # let _ =
/// Shutdown::new(&Health::new()).run(first, second, |_stop| async { "served" }).await;
/// # Ok(()) }
/// ```
///
/// # Errors
/// When the system has no means for it, or outside a runtime with I/O.
pub fn signals() -> io::Result<(impl Future<Output = ()> + Send, impl Future<Output = ()> + Send)> {
    let both = Both { term: signal(SignalKind::terminate())?, int: signal(SignalKind::interrupt())? };
    // One stream of signals that both take from: who comes second does not hear the first once more.
    let both = Arc::new(Mutex::new(both));
    let next = |both: Arc<Mutex<Both>>| async move { both.lock().await.next().await };
    Ok((next(Arc::clone(&both)), next(both)))
}

struct Both {
    term: Signal,
    int: Signal,
}

impl Both {
    async fn next(&mut self) {
        tokio::select! {
            _ = self.term.recv() => {}
            _ = self.int.recv() => {}
        }
    }
}
