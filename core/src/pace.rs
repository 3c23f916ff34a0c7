//! Whether packets come one by one, or in crowds.
//!
//! Packets that come one by one are in a hurry, packets that come in crowds want to be
//! carried together.

/// Seconds after a single packet from which on the next one is expected to come alone,
/// too; sooner ones are the rest of a crowd.
const PAUSE: f64 = 0.000_05;
/// Crowds within [`WINDOW`] that make a load.
const MANY: u32 = 8;
/// Seconds in which crowds are counted.
const WINDOW: f64 = 0.01;
/// Seconds without crowds after which there is no load any more.
pub const CALM: f64 = 0.05;

/// How the packets of one direction come.
pub struct Pace {
    /// When the last one came alone; in the future for ever after a crowd.
    alone_at: f64,
}

impl Pace {
    pub fn new() -> Self {
        Pace {
            alone_at: f64::NEG_INFINITY,
        }
    }

    /// Return whether a packet that waits has probably come alone.
    pub fn is_lone(&self, now: f64) -> bool {
        now - self.alone_at > PAUSE
    }

    /// Note how many came together.
    pub fn note(&mut self, count: usize, now: f64) {
        self.alone_at = if count > 1 { f64::INFINITY } else { now };
    }
}

impl Default for Pace {
    fn default() -> Self {
        Self::new()
    }
}

/// Whether crowds come again and again.
#[derive(Default)]
pub struct Load {
    began: f64,
    crowds: u32,
}

impl Load {
    /// Note a crowd; return whether there are many.
    pub fn note(&mut self, now: f64) -> bool {
        if now - self.began > WINDOW {
            (self.began, self.crowds) = (now, 0);
        }
        self.crowds += 1;
        self.crowds >= MANY
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn after_a_pause_packets_are_expected_to_come_alone() {
        let mut pace = Pace::new();
        assert!(pace.is_lone(1.0));
        pace.note(1, 1.0);
        assert!(!pace.is_lone(1.0 + PAUSE / 2.0));
        assert!(pace.is_lone(1.0 + PAUSE * 2.0));
    }

    #[test]
    fn after_a_crowd_the_next_ones_are_a_crowd_until_one_is_not() {
        let mut pace = Pace::new();
        pace.note(2, 1.0);
        assert!(!pace.is_lone(100.0));
        pace.note(1, 100.0);
        assert!(pace.is_lone(101.0));
    }

    #[test]
    fn crowds_are_a_load_if_they_come_soon_after_each_other() {
        let mut load = Load::default();
        let soon: Vec<_> = (0..MANY)
            .map(|step| load.note(1.0 + f64::from(step) / 1000.0))
            .collect();
        assert_eq!(soon.iter().filter(|&&is_load| is_load).count(), 1);
        assert!(soon[MANY as usize - 1]);
        assert!(!(0..100).any(|step| load.note(2.0 + f64::from(step) * WINDOW)));
    }
}
