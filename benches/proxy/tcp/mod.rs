//! The TCP rows: load and origin exchange short requests and replies of any length.
pub(crate) mod load;
pub(crate) mod origin;
pub(crate) mod request;
