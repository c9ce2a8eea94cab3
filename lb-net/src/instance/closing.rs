//! The end of a place that is served no more: with its last session.

use std::{
    io,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
    },
};

use arc_swap::ArcSwap;

use super::attendant::{Attendant, News};
use crate::{config::Name, listener::BindError};

/// What workers have to say of a place's end. It is told when the last of them has dropped it.
pub(super) struct Closing {
    service: ArcSwap<Name>,
    address: SocketAddr,
    cut: AtomicUsize,
    attendant: Arc<dyn Attendant>,
    is_told: AtomicBool,
}

impl Closing {
    pub(super) fn new(service: &Name, address: SocketAddr, attendant: &Arc<dyn Attendant>) -> Arc<Self> {
        Arc::new(Self {
            service: ArcSwap::from_pointee(service.clone()),
            address,
            cut: AtomicUsize::new(0),
            attendant: Arc::clone(attendant),
            is_told: AtomicBool::new(false),
        })
    }

    /// Another service has the place from now on.
    pub(super) fn belongs_to(&self, service: &Name) {
        self.service.store(Arc::new(service.clone()));
    }

    /// It closes while the instance goes on: otherwise its end is one with that of all others, and no news.
    pub(super) fn begin(&self) {
        self.attendant.tell(&News::Closing { service: &self.service.load(), address: self.address });
        self.is_told.store(true, Relaxed);
    }

    /// What it is that is served there no more, for want of a listener.
    pub(super) fn failed(&self, source: io::Error) -> io::Error {
        io::Error::new(source.kind(), BindError { address: self.address, source })
    }

    /// So many sessions had to be cut.
    pub(super) fn add(&self, cut: usize) {
        self.cut.fetch_add(cut, Relaxed);
    }
}

impl Drop for Closing {
    fn drop(&mut self) {
        if self.is_told.load(Relaxed) {
            let cut = self.cut.load(Relaxed);
            self.attendant.tell(&News::Closed { service: &self.service.load(), address: self.address, cut });
        }
    }
}
