//! The compiled data path of meshwg: it carries the packets of established sessions.
//!
//! It is told what there is (`table`), and answers with what it cannot deal with (`up`).
//! In between, packets become messages (`sender`) and messages packets (`receiver`).
//! Both work on batches, and are the same whether their owner calls them or `carrier`,
//! in threads of its own, on descriptors. Nothing outside of `system` is unsafe.

#![deny(unsafe_code)]

pub mod bundle;
pub mod carrier;
pub mod channel;
pub mod coalesce;
pub mod constants;
pub mod datapath;
pub mod delivery;
pub mod drops;
pub mod duties;
pub mod endpoint;
pub mod flows;
pub mod lateness;
pub mod networks;
pub mod pace;
pub mod packet;
pub mod random;
pub mod receiver;
pub mod replay;
pub mod segment;
pub mod sender;
pub mod session;
pub mod shared;
pub mod shares;
pub mod sockets;
#[allow(unsafe_code)]
pub mod system;
pub mod table;
pub mod toobig;
pub mod up;
pub mod vnet;
pub mod worker;

#[cfg(feature = "python")]
mod python;
