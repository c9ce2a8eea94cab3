//! An error with its causes.

use std::{error::Error, iter::successors};

/// All on one line.
pub(crate) fn chain(error: &dyn Error) -> String {
    let causes = successors(error.source(), |&cause| cause.source());
    causes.fold(error.to_string(), |line, cause| format!("{line}: {cause}"))
}
