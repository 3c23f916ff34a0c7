//! Why packets and messages went no further, and how many.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// A reason; the names are those of the Python side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Drop {
    ExpiredSession,
    NotAuthentic,
    Replay,
    InvalidPacket,
    ForbiddenSource,
    ForbiddenDestination,
    NoPeer,
    TooLong,
    NoEndpoint,
}

const ALL: [(Drop, &str); 9] = [
    (Drop::ExpiredSession, "expired-session"),
    (Drop::NotAuthentic, "not-authentic"),
    (Drop::Replay, "replay"),
    (Drop::InvalidPacket, "invalid-packet"),
    (Drop::ForbiddenSource, "forbidden-source"),
    (Drop::ForbiddenDestination, "forbidden-destination"),
    (Drop::NoPeer, "no-peer"),
    (Drop::TooLong, "packet-too-long"),
    (Drop::NoEndpoint, "no-endpoint"),
];

/// The counters of all reasons.
#[derive(Default)]
pub struct Drops([AtomicU64; ALL.len()]);

impl Drops {
    pub fn count(&self, drop: Drop, number: usize) {
        self.0[drop as usize].fetch_add(number as u64, Relaxed);
    }

    pub fn get(&self, drop: Drop) -> u64 {
        self.0[drop as usize].load(Relaxed)
    }

    /// Return all counters with their names.
    pub fn list(&self) -> Vec<(&'static str, u64)> {
        ALL.iter()
            .map(|&(drop, name)| (name, self.get(drop)))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_reason_has_a_counter_of_its_own() {
        let drops = Drops::default();
        for (number, (drop, _)) in ALL.into_iter().enumerate() {
            drops.count(drop, number + 1);
        }
        let counts: Vec<u64> = drops.list().iter().map(|&(_, count)| count).collect();
        assert_eq!(counts, (1..=ALL.len() as u64).collect::<Vec<_>>());
    }
}
