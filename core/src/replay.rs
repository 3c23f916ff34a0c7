//! The sliding window that lets every message counter through once (RFC 6479).

use crate::constants::{REJECT_AFTER_MESSAGES, REPLAY_WINDOW};

const WORDS: usize = (REPLAY_WINDOW / 64 + 1) as usize;

/// The counters seen on one keypair; only authentic ones may be shown to it.
pub struct ReplayWindow {
    /// The counter after the newest.
    next: u64,
    /// A ring of bits; the bit of a counter is at its value modulo the ring's length.
    words: [u64; WORDS],
}

impl ReplayWindow {
    pub fn new() -> Self {
        ReplayWindow {
            next: 0,
            words: [0; WORDS],
        }
    }

    /// Return the counter after the newest.
    pub fn next(&self) -> u64 {
        self.next
    }

    /// Return whether this counter is new, and remember it.
    pub fn accept(&mut self, counter: u64) -> bool {
        if counter >= REJECT_AFTER_MESSAGES {
            return false;
        }
        if counter >= self.next {
            self.move_to(counter);
        } else if self.next - 1 - counter > REPLAY_WINDOW {
            return false;
        }
        let word = &mut self.words[(counter / 64) as usize % WORDS];
        let bit = 1 << (counter % 64);
        let is_new = *word & bit == 0;
        *word |= bit;
        is_new
    }

    /// Make room for a counter that is newer than all others.
    fn move_to(&mut self, counter: u64) {
        let newest = self.next.saturating_sub(1) / 64;
        let steps = (counter / 64 - newest).min(WORDS as u64);
        for step in 1..=steps {
            self.words[(newest + step) as usize % WORDS] = 0;
        }
        self.next = counter + 1;
    }
}

impl Default for ReplayWindow {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: u64 = REPLAY_WINDOW + 1;

    fn accepts(counters: &[(u64, bool)]) {
        let mut window = ReplayWindow::new();
        for (step, &(counter, is_new)) in counters.iter().enumerate() {
            assert_eq!(window.accept(counter), is_new, "step {step}: {counter}");
        }
    }

    // The cases of Linux, selftest/counter.c.
    #[test]
    fn each_counter_is_accepted_once() {
        accepts(&[
            (0, true),
            (1, true),
            (1, false),
            (9, true),
            (8, true),
            (7, true),
            (7, false),
            (LIMIT, true),
            (LIMIT - 1, true),
            (LIMIT - 1, false),
            (LIMIT - 2, true),
            (2, true),
            (2, false),
            (LIMIT + 16, true),
            (3, false),
            (LIMIT + 16, false),
            (LIMIT * 4, true),
            (LIMIT * 4 - (LIMIT - 1), true),
            (10, false),
            (LIMIT * 4 - LIMIT, false),
            (LIMIT * 4 - (LIMIT + 1), false),
            (LIMIT * 4 - (LIMIT - 2), true),
            (LIMIT * 4 + 1 - LIMIT, false),
            (0, false),
            (REJECT_AFTER_MESSAGES, false),
            (REJECT_AFTER_MESSAGES - 1, true),
            (REJECT_AFTER_MESSAGES, false),
            (REJECT_AFTER_MESSAGES - 1, false),
            (REJECT_AFTER_MESSAGES - 2, true),
            (REJECT_AFTER_MESSAGES + 1, false),
            (REJECT_AFTER_MESSAGES + 2, false),
            (REJECT_AFTER_MESSAGES - 2, false),
            (REJECT_AFTER_MESSAGES - 3, true),
            (0, false),
        ]);
    }

    #[test]
    fn counters_may_come_backwards() {
        let mut window = ReplayWindow::new();
        for counter in (1..=LIMIT).rev() {
            assert!(window.accept(counter));
        }
        assert!(window.accept(LIMIT + 1));
        assert!(!window.accept(0));
    }

    #[test]
    fn it_agrees_with_a_set_of_counters() {
        let mut window = ReplayWindow::new();
        let mut seen = std::collections::HashSet::new();
        let mut newest = 0;
        let mut random = crate::random::Random::new(1);
        for _ in 0..50_000 {
            let counter = (newest + random.below(40)).saturating_sub(random.below(9000));
            let is_new = newest <= counter + REPLAY_WINDOW && !seen.contains(&counter);
            assert_eq!(window.accept(counter), is_new);
            seen.insert(counter);
            newest = newest.max(counter);
        }
    }
}
