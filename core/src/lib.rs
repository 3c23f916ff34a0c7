//! The compiled data path of meshwg: it carries the packets of established sessions.

#[cfg(feature = "python")]
mod python;
