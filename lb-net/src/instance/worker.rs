//! Threads with a runtime and listeners of their own: a connection lives and dies where it was accepted.

use std::{
    io,
    net::TcpListener,
    sync::{Arc, Mutex, PoisonError},
    thread::JoinHandle,
};

use tokio::{
    runtime,
    sync::{mpsc, watch},
    task::JoinSet,
};

use super::{closing::Closing, role::Latest};
use crate::{TcpProxy, http::HttpProxy, listener::Listener};

/// How it came to an end.
/// ```
/// # fn show(ended: lb_net::instance::Ended) {
/// println!("{} sessions were cut", ended.cut);
/// # }
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub struct Ended {
    /// Sessions that were still running when their grace period was over.
    pub cut: usize,
    /// Why serving could not go on, if it was that.
    pub failure: Option<io::Error>,
}

/// A listener, and who serves it.
pub(super) struct Share {
    pub(super) latest: Latest,
    pub(super) accepts: watch::Receiver<bool>,
    pub(super) listener: TcpListener,
    pub(super) stopped: watch::Receiver<bool>,
    pub(super) closing: Arc<Closing>,
}

pub(super) struct Workers {
    running: Mutex<Running>,
    /// How the others learn that all have ended: no receiver is left.
    alive: watch::Sender<()>,
    failed: watch::Sender<bool>,
}

#[derive(Default)]
struct Running {
    work: Vec<mpsc::UnboundedSender<Share>>,
    threads: Vec<JoinHandle<Served>>,
}

/// What one worker has to tell in the end.
#[derive(Default)]
struct Served {
    cut: usize,
    failure: Option<io::Error>,
}

impl Workers {
    pub(super) fn start(count: usize) -> io::Result<Self> {
        let (alive, failed) = (watch::Sender::new(()), watch::Sender::new(false));
        let mut running = Running::default();
        for _ in 0..count.max(1) {
            let (work, shares) = mpsc::unbounded_channel();
            running.threads.push(worker(shares, alive.subscribe(), failed.clone())?);
            running.work.push(work);
        }
        Ok(Self { running: Mutex::new(running), alive, failed })
    }

    pub(super) fn count(&self) -> usize {
        self.running.lock().unwrap_or_else(PoisonError::into_inner).threads.len()
    }

    /// One share for each.
    pub(super) fn serve(&self, shares: impl IntoIterator<Item = Share>) {
        let running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        for (work, share) in running.work.iter().zip(shares) {
            // Each takes work until there is no more: until `stop`.
            let _ = work.send(share);
        }
    }

    /// Each ends with what it serves.
    pub(super) fn stop(&self) {
        self.running.lock().unwrap_or_else(PoisonError::into_inner).work.clear();
    }

    /// What fails from then on is a part of the end.
    fn is_stopping(&self) -> bool {
        self.running.lock().unwrap_or_else(PoisonError::into_inner).work.is_empty()
    }

    pub(super) async fn ended(&self) -> Ended {
        let mut failed = self.failed.subscribe();
        let failed = async {
            // An error is the end of the sender, which is here.
            // Not kept: it holds what is to be changed.
            let _ = failed.wait_for(|failed| *failed && !self.is_stopping()).await;
        };
        tokio::select! {
            () = self.alive.closed() => {}
            () = failed => {
                // Told once: who asks again waits for the others to end in order.
                self.failed.send_replace(false);
                return Ended { cut: 0, failure: Some(io::Error::other("a worker cannot serve any more")) };
            }
        }
        let threads = std::mem::take(&mut self.running.lock().unwrap_or_else(PoisonError::into_inner).threads);
        let mut ended = Ended { cut: 0, failure: None };
        for thread in threads {
            let served = thread.join().unwrap_or_else(|_| Served { cut: 0, failure: Some(panicked()) });
            ended.cut += served.cut;
            ended.failure = ended.failure.or(served.failure);
        }
        ended
    }
}

fn worker(
    mut shares: mpsc::UnboundedReceiver<Share>,
    alive: watch::Receiver<()>,
    failed: watch::Sender<bool>,
) -> io::Result<JoinHandle<Served>> {
    let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
    std::thread::Builder::new().name("lb-worker".to_owned()).spawn(move || {
        let served = runtime.block_on(async {
            let (mut tasks, mut served) = (JoinSet::new(), Served::default());
            loop {
                tokio::select! {
                    // First: what ends after the end of the whole has begun is a part of that.
                    biased;
                    share = shares.recv() => match share {
                        Some(share) => drop(tasks.spawn(serve(share))),
                        None => break,
                    },
                    // Of a place that was closed: what was cut there is its own news.
                    Some(ended) = tasks.join_next() => {
                        served.note(ended, &failed);
                        served.cut = 0;
                    }
                }
            }
            while let Some(ended) = tasks.join_next().await {
                served.note(ended, &failed);
            }
            served
        });
        drop(alive);
        served
    })
}

impl Served {
    fn note(&mut self, ended: Result<io::Result<usize>, tokio::task::JoinError>, failed: &watch::Sender<bool>) {
        // A panic stays with its place: who has come to others is served while everything ends in order.
        match ended.unwrap_or_else(|_| Err(panicked())) {
            Ok(cut) => self.cut += cut,
            Err(error) => {
                self.failure = Some(error);
                failed.send_replace(true);
            }
        }
    }
}

fn panicked() -> io::Error {
    io::Error::other("a worker has panicked")
}

async fn serve(share: Share) -> io::Result<usize> {
    let Share { latest, accepts, listener, mut stopped, closing } = share;
    let stop = async move {
        // An error is the end of the sender: a stop as well.
        let _ = stopped.wait_for(|stopped| *stopped).await;
    };
    let failed = |error| closing.failed(error);
    let listener = Listener::new(listener).map_err(failed)?.while_open(accepts);
    let cut = match latest {
        Latest::Tcp(proxies) => TcpProxy::serve_on(proxies, listener, stop).await.map_err(failed)?.cut,
        Latest::Http(proxies) => HttpProxy::serve_on(proxies, listener, stop).await.map_err(failed)?.cut,
    };
    closing.add(cut);
    Ok(cut)
}
