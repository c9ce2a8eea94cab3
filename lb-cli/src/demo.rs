//! `lb demo`.

use crate::{args::Demo, failure::Failure};

pub(crate) fn run(_: &Demo) -> Result<(), Failure> {
    Ok(())
}
