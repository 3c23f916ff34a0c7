//! When a queue should lose a datagram: the idea of CoDel (RFC 8289), simplified.
//!
//! A transfer fills whatever room it gets, and learns only from a loss that it sends too
//! much. A burst needs room, too, but is over soon. So a queue whose datagrams have
//! waited for longer than [`TARGET`], without a moment in between, for a whole
//! [`INTERVAL`] stands rather than flows, and loses one for each.

/// Seconds of waiting that do no harm (RFC 8289, section 4.3).
pub const TARGET: f64 = 0.005;
/// Seconds that a burst may last: a long round trip (RFC 8289, section 4.3).
pub const INTERVAL: f64 = 0.1;

/// Watches how long datagrams have waited in one queue.
#[derive(Debug, Default)]
pub struct Lateness {
    since: Option<f64>,
}

impl Lateness {
    /// Return whether a datagram should be dropped now.
    ///
    /// :param waited: for how many seconds the last one has; 0 if none waits.
    pub fn is_too_much(&mut self, waited: f64, now: f64) -> bool {
        if waited <= TARGET {
            self.since = None;
            return false;
        }
        let since = *self.since.get_or_insert(now);
        let is_standing = now - since > INTERVAL;
        if is_standing {
            self.since = Some(now);
        }
        is_standing
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LATE: f64 = TARGET * 2.0;

    #[test]
    fn a_queue_that_stands_loses_one_for_each_interval() {
        let mut lateness = Lateness::default();
        let steps = (0..400).map(|step| f64::from(step) / 1000.0);
        let lost: Vec<_> = steps
            .filter(|&now| lateness.is_too_much(LATE, now))
            .collect();
        assert_eq!(lost, [0.101, 0.202, 0.303]);
    }

    #[test]
    fn a_moment_without_waiting_ends_it() {
        let mut lateness = Lateness::default();
        assert!(!lateness.is_too_much(LATE, 0.0));
        assert!(!lateness.is_too_much(TARGET, 0.09));
        assert!(!lateness.is_too_much(LATE, 0.15));
        assert!(!lateness.is_too_much(LATE, 0.25));
        assert!(lateness.is_too_much(LATE, 0.26));
    }
}
