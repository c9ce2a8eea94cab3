//! Accepts clients, and looks after what they have in common, until the end.

use std::{io, sync::Arc, time::Duration};

use lb_core::rand::{SeedableRng as _, rngs::SmallRng};
use tokio::sync::watch;

use super::{HttpProxy, Inner, Served, connection::Connection, parts::Worker};
use crate::{
    drain::{Sessions, Stop},
    driver::now,
    listener::Listener,
};

/// For how long those who have connected may still begin to speak when the end has begun: they do so at once.
const SPEECH: Duration = Duration::from_millis(100);

pub(super) async fn serve<T: Send + Sync + 'static>(
    proxies: watch::Receiver<HttpProxy<T>>,
    listener: Listener,
    shutdown: impl Future<Output = ()> + Send,
) -> io::Result<Served> {
    let rng = rng(&proxies.borrow().inner);
    let worker = Arc::new(Worker::new(proxies, rng, listener.local_address()?));
    let inner = || worker.known().inner;
    tokio::select! {
        biased;
        served = accept_all(&worker, listener, shutdown) => served,
        never = Arc::clone(&worker.sweep).run() => match never {},
        never = Arc::clone(&worker.alarms).ring() => match never {},
        never = worker.pool.keep_swept(|id| inner().balancer.is_wanted(id)) => match never {},
        never = worker.books.write_in_time() => match never {},
        never = worker.poke() => match never {},
        never = worker.make_room() => match never {},
        never = worker.follow_all() => match never {},
    }
}

fn rng<T>(inner: &Inner<T>) -> SmallRng {
    let seed = inner.seed.unwrap_or_else(|| {
        use std::hash::{BuildHasher as _, RandomState};
        RandomState::new().hash_one(now())
    });
    SmallRng::seed_from_u64(seed)
}

async fn accept_all<T: Send + Sync + 'static>(
    worker: &Arc<Worker<T>>,
    mut listener: Listener,
    shutdown: impl Future<Output = ()> + Send,
) -> io::Result<Served> {
    let mut sessions = Sessions::default();
    let begin = |sessions: &mut Sessions, (client, peer), place| {
        sessions.spawn(place, Connection::new(worker, client, peer));
    };
    // At the end all are served that have come.
    let begin_all = |sessions: &mut Sessions, accepted| begin(sessions, accepted, worker.one_more());
    tokio::pin!(shutdown);
    loop {
        let accepted = tokio::select! {
            // First, because under a load that never lets the queue run empty nothing behind it would be asked.
            biased;
            () = &mut shutdown => break,
            accepted = listener.accept() => accepted?,
        };
        if let Some(place) = worker.try_room() {
            begin(&mut sessions, accepted, place);
            continue;
        }
        tokio::select! {
            biased;
            () = &mut shutdown => {
                begin_all(&mut sessions, accepted);
                break;
            }
            place = worker.room() => begin(&mut sessions, accepted, place),
        }
    }
    let grace = worker.latest_settings().times.grace;
    worker.stop();
    // Who has connected and not spoken is not in the queue yet. A system without this has given them out already.
    let _ = listener.await_bytes(false);
    Ok(Served { cut: Stop { grace, speech: SPEECH }.run(listener, sessions, begin_all).await? })
}
