//! Moving bytes.
pub mod listener;
pub mod relay;
pub mod sys;
