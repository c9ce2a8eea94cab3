//! The access log: a line for each request.

mod settings;

pub use self::settings::{AccessFormat, AccessLogError, AccessLogSettings, AccessTo, UnknownAccessFormat};
