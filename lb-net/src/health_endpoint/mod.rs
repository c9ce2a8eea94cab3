#![doc = include_str!("contract.md")]

mod closing;
mod colour;
mod endpoint;
mod file_content;
mod gauge;
mod health;
mod meter;
mod report;
mod shutdown;
mod signals;
mod source;
mod state_file;
mod switch;
mod thresholds;
mod warm_up;

pub use self::{
    closing::{Closing, ClosingFuture, ClosingLayer},
    colour::Colour,
    endpoint::Endpoint,
    file_content::StateFileProblem,
    gauge::Gauge,
    health::Health,
    report::Report,
    shutdown::{Ended, Shutdown, Stop},
    signals::signals,
    source::{Source, State},
    state_file::{StateFile, StateFileError},
    switch::Switch,
    thresholds::{Thresholds, ThresholdsError},
    warm_up::WarmUp,
};
