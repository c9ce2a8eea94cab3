//! One model, running: its pools, its services, and every change of them while clients are served.
//!
//! An [`Instance`] serves what a [`Model`] says. Another model is applied as the difference to the one
//! before: what is the same in both stays untouched, connections, counts, health and turns included. What can fail is done
//! first ([`Instance::prepare`]), so that a model that cannot be applied changes nothing.
//!
//! What it does not know itself it has from its [`Attendant`], which hears of everything that happens, too.

mod api;
mod attendant;
mod closing;
mod desk;
mod door;
mod failure;
mod pool;
mod prepare;
mod process;
mod role;
mod service;
mod worker;

use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::{Duration, Instant},
};

use arc_swap::ArcSwap;
use tokio::{
    runtime::Handle,
    sync::{Notify, watch},
};

pub use self::{
    attendant::{Attendant, News},
    failure::PrepareError,
    prepare::Prepared,
    worker::Ended,
};
use self::{desk::Desk, door::Door, pool::RunningPool, process::View, worker::Workers};
use crate::{
    config::{Control, Listen, Model, Name, Time},
    discover::Found,
    http::AccessLogs,
    manage::{Place, PlaceError},
    resolve::Endpoint,
};

/// What backends are to an instance.
type Backends = lb_core::Balancer<Endpoint>;

/// One model, running. It has threads of its own for clients; everything else runs on the runtime that it is given. It
/// serves until it is told to [`stop`](Self::stop).
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use lb_net::{config, instance::{Attendant, Instance, News}, manage::Process as _};
/// use std::sync::Arc;
/// struct Quiet;
/// impl Attendant for Quiet {
///     fn tell(&self, news: &News<'_>) {
///         eprintln!("{news}");
///     }
/// }
/// # let directory = std::env::temp_dir().join(format!("lb-doctest-instance-{}", std::process::id()));
/// # let [_, _, high, low] = std::process::id().to_be_bytes();
/// # let place = format!("127.99.{high}.{low}:17480");
/// # let text = format!("control.directory = {directory:?}\npools.web.groups = '127.0.0.1:9'\n[services.www]\nlisten = '{place}'\npool = 'web'");
/// let model = config::parse(&text)?.model;
/// let instance = Instance::new(1, tokio::runtime::Handle::current(), Arc::new(Quiet))?;
/// instance.apply(&model)?;
/// assert_eq!(instance.services()[0].name, "www");
/// instance.stop();
/// assert_eq!(instance.ended().await.cut, 0);
/// # std::fs::remove_dir_all(directory)?;
/// # Ok(()) }
/// ```
pub struct Instance {
    home: Weak<Self>,
    runtime: Handle,
    attendant: Arc<dyn Attendant>,
    workers: Workers,
    logs: AccessLogs,
    /// Held from the begin of a change to its end, which may take as long as names do.
    changing: Mutex<()>,
    /// Never held for long.
    state: Mutex<State>,
    /// What others may look at while a change takes its time.
    view: ArcSwap<View>,
    /// Told when there may be another name to ask for, or another source to look at.
    named: Arc<Notify>,
    sourced: Arc<Notify>,
}

#[derive(Default)]
struct State {
    model: Model,
    pools: BTreeMap<Name, RunningPool>,
    doors: BTreeMap<Listen, Door>,
    desks: BTreeMap<PathBuf, Desk>,
    /// What was closed a moment ago, and when.
    closed: Vec<(Listen, Instant)>,
    /// What sources have said last.
    found: Found,
    /// What ends control over HTTP.
    api: Option<watch::Sender<bool>>,
    refresh: Option<Refresh>,
    /// Of the first model: where control sockets are takes a new start to change.
    control: Option<Control>,
    /// Once it has begun nothing is served any more that was not.
    stopping: bool,
}

/// Names and sources that are looked at again, in the rhythm of the model.
struct Refresh {
    every: Option<Time>,
    _asking: [Task; 2],
}

/// A task that ends with whoever holds it.
struct Task(tokio::task::AbortHandle);

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Instance {
    /// One that serves nothing yet, with so many threads for clients.
    ///
    /// # Errors
    /// When the system has no threads.
    pub fn new(workers: usize, runtime: Handle, attendant: Arc<dyn Attendant>) -> io::Result<Arc<Self>> {
        let workers = Workers::start(workers)?;
        let told = Arc::clone(&attendant);
        let logs = AccessLogs::new(move |news| told.tell(&News::AccessLog(news)));
        Ok(Arc::new_cyclic(|home| Self {
            home: Weak::clone(home),
            runtime,
            attendant,
            workers,
            logs,
            changing: Mutex::default(),
            state: Mutex::default(),
            view: ArcSwap::default(),
            named: Arc::default(),
            sourced: Arc::default(),
        }))
    }

    /// Serves what this model says from now on, and nothing else.
    ///
    /// # Errors
    /// Why it cannot: then nothing has changed.
    pub fn apply(&self, model: &Model) -> Result<(), PrepareError> {
        self.prepare(model)?.commit();
        Ok(())
    }

    /// Does everything of a change that may fail: looks names up, opens listeners. It blocks meanwhile, and keeps other
    /// changes waiting until the change is [committed](Prepared::commit) or dropped, which leaves everything as it was.
    ///
    /// # Errors
    /// What has failed.
    pub fn prepare(&self, model: &Model) -> Result<Prepared<'_>, PrepareError> {
        Prepared::new(self, self.alone(), model)
    }

    /// Asks for the addresses of all names again, at once.
    pub fn refresh(&self) {
        self.named.notify_one();
        self.sourced.notify_one();
    }

    /// Has the files of access logs opened again by their names, after a log rotation.
    pub fn reopen_logs(&self) {
        self.logs.reopen();
    }

    /// Waits until access logs are written, or this time has passed, and says whether they are. It blocks: it is for the
    /// end, after [`ended`](Self::ended).
    pub fn finish_logs(&self, patience: Duration) -> bool {
        self.logs.wait(patience)
    }

    /// Begins the end: nobody else is accepted, control is closed, sessions may go on for their grace period.
    pub fn stop(&self) {
        let mut state = self.state();
        state.stopping = true;
        state.refresh = None;
        state.api = None;
        let (desks, doors) = (std::mem::take(&mut state.desks), std::mem::take(&mut state.doors));
        drop(state);
        // Before the doors: workers are to know that what ends from now on ends with the whole.
        self.workers.stop();
        doors.into_values().for_each(Door::close);
        // Last, because to remove a socket may take a moment.
        drop(desks);
    }

    /// The longest time that a session may go on after a [`stop`](Self::stop).
    #[must_use]
    pub fn grace(&self) -> Duration {
        let state = self.state();
        let services = state.model.services().values();
        services.filter_map(|service| service.sessions().grace).map(Time::get).max().unwrap_or_default()
    }

    /// Completes when the last session has ended after a [`stop`](Self::stop), or been cut; or when serving has failed
    /// for good, which is told once: what still runs may be stopped then, and its end awaited by asking again.
    pub async fn ended(&self) -> Ended {
        self.workers.ended().await
    }

    /// Where the control socket of who listens there is.
    fn place(&self, control: &Control, listen: &Listen) -> Result<Place, PlaceError> {
        let directory = control.directory.as_ref().map(|directory| Path::new(directory.as_str()));
        let usual = || Place::new(directory, listen.port(), listen.host());
        self.attendant.control_place(listen).map_or_else(usual, Ok)
    }

    /// The right to change something, as soon as nobody else has it.
    fn alone(&self) -> MutexGuard<'_, ()> {
        self.changing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // What has panicked leaves a state that is usable: every step of a change does.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for Instance {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Instance").field("view", &self.view.load()).finish_non_exhaustive()
    }
}
