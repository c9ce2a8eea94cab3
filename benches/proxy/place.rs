//! The place of a product between load and origin.
use crate::test::Layer;
use std::path::Path;

/// Where a product is to stand.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place<'a> {
    pub(crate) layer: Layer,
    pub(crate) port: u16,
    pub(crate) backends: &'a [u16],
    pub(crate) workers: usize,
    /// How many it may open.
    pub(crate) descriptors: u64,
    /// For files that it insists on.
    pub(crate) folder: &'a Path,
}
