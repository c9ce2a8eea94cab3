//! The whole model of configuration: pools of backends, the services that clients come to, logs, control, the process.
//!
//! A [`Model`] is a plain value, and a valid one: whoever holds it has nothing left to check but what only the system
//! knows (names, addresses, users). [`parse`] reads it from TOML and says of everything that is wrong where it stands and
//! what was expected; [`Model::to_toml`] writes it in one way only, which reads back as an equal model.
//! [`warnings`](Model::warnings) tell what is legal but hardly meant, [`difference`](Model::difference) tells two models
//! apart, and [`schema`] is for editors.
//!
//! Groups may have [sources](crate::discover::Source) besides the backends that are listed: [`Pool::expanded`] is the
//! configuration with what they have said, and [`Pool::contracted`] is what to write of one that runs.
//! ```
//! let loaded = lb_net::config::parse(r#"
//!     [pools.web]
//!     groups = "alpha:8080:256 ! spare:8080"
//!     [services.www]
//!     listen = 80
//!     pool = "web"
//!     race = "100ms"
//! "#)?;
//! assert_eq!(loaded.warnings, []);
//! assert_eq!(lb_net::config::parse(&loaded.model.to_toml())?.model, loaded.model);
//!
//! let problems = lb_net::config::parse("[pools.web]\nselectr = 'hash'\n").unwrap_err();
//! assert_eq!(
//!     problems.to_string(),
//!     "2:1: unknown key 'selectr': did you mean 'selector'?\n  2 | selectr = 'hash'\n    | ^^^^^^^"
//! );
//! # Ok::<(), lb_net::config::Problems>(())
//! ```

mod change;
mod check;
mod control;
mod difference;
mod difference_pool;
mod difference_values;
mod http;
mod keys;
mod meant;
mod model;
mod pool;
mod pool_size;
mod problem;
mod read;
mod read_http;
mod read_pool;
mod read_probes;
mod read_service;
mod reader;
mod schema;
mod sessions;
mod size;
mod sources;
mod syntax;
mod time;
mod value;
mod words;
mod write;
mod write_http;
mod write_pool;
mod write_value;

pub use self::{
    change::Change,
    check::Warning,
    control::{Control, ControlHttp, OpenError, ReadToken, TokenFile, TokenFileError, TokenSource},
    difference::Difference,
    http::{Http, HttpError},
    model::{Invalid, Log, LogFormat, LogTo, Model, Process, Role, Service},
    pool::{Initial, Pool, PoolError, Probes},
    pool_size::PoolSize,
    problem::{Problem, Problems, Severity},
    read::{Loaded, parse},
    schema::schema,
    sessions::Sessions,
    size::{Size, SizeError},
    time::{Time, TimeError},
    words::{Directory, Listen, Name, UserName, UserNameError, WordError, Workers},
    write_value::quoted,
};
pub use crate::{
    http_address::{HttpAddress, HttpAddressError},
    token::{Token, TokenError},
};
