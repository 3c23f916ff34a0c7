//! A queue with a bound, in which nobody takes the room of others.
//!
//! Everybody has a share of their own. When the queue is full, the oldest item of the
//! longest share makes room; and what is taken is taken from all shares in turn.

use std::collections::{HashMap, VecDeque};
use std::hash::Hash;

/// What waits, by whose it is.
pub struct Shares<K, T> {
    shares: HashMap<K, VecDeque<(u64, T)>>,
    /// Those who have something in the queue, the next one first.
    turns: VecDeque<K>,
    length: usize,
    /// How many have come so far.
    arrived: u64,
}

impl<K: Copy + Eq + Hash, T> Shares<K, T> {
    pub fn waiting(&self) -> usize {
        self.length
    }

    pub fn push(&mut self, key: K, item: T) {
        let share = self.shares.entry(key).or_default();
        if share.is_empty() {
            self.turns.push_back(key);
        }
        share.push_back((self.arrived, item));
        self.arrived += 1;
        self.length += 1;
    }

    /// Forget the oldest item of the longest share.
    pub fn drop_one(&mut self) {
        let longest = self.turns.iter().copied();
        let Some(greediest) = longest.max_by_key(|key| self.shares[key].len()) else {
            return;
        };
        self.pop(greediest);
        if !self.shares.contains_key(&greediest) {
            self.turns.retain(|&key| key != greediest);
        }
    }

    /// Return so many items at most, in the order in which they came, and forget them.
    pub fn take(&mut self, most: usize) -> Vec<T> {
        let mut taken = Vec::with_capacity(most.min(self.length));
        while taken.len() < most {
            let Some(key) = self.turns.pop_front() else {
                break;
            };
            taken.extend(self.pop(key));
            if self.shares.contains_key(&key) {
                self.turns.push_back(key);
            }
        }
        taken.sort_by_key(|&(number, _)| number);
        taken.into_iter().map(|(_, item)| item).collect()
    }

    /// Take the oldest item of a share, which is forgotten when it is empty.
    fn pop(&mut self, key: K) -> Option<(u64, T)> {
        let share = self.shares.get_mut(&key)?;
        let item = share.pop_front()?;
        self.length -= 1;
        if share.is_empty() {
            self.shares.remove(&key);
        }
        Some(item)
    }
}

impl<K, T> Default for Shares<K, T> {
    fn default() -> Self {
        Shares {
            shares: HashMap::new(),
            turns: VecDeque::new(),
            length: 0,
            arrived: 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(greedy: usize, modest: usize) -> Shares<char, usize> {
        let mut queue = Shares::default();
        for number in 0..greedy {
            queue.push('g', number);
        }
        for number in 0..modest {
            queue.push('m', 1000 + number);
        }
        queue
    }

    #[test]
    fn all_have_turns_and_what_is_taken_is_in_its_order() {
        let mut queue = filled(10, 2);
        assert_eq!(queue.take(4), [0, 1, 1000, 1001]);
        assert_eq!(queue.take(3), [2, 3, 4]);
        assert_eq!((queue.take(100).len(), queue.waiting()), (5, 0));
        assert!(queue.take(1).is_empty());
    }

    #[test]
    fn the_oldest_of_the_greediest_makes_room() {
        let mut queue = filled(4, 2);
        for _ in 0..3 {
            queue.drop_one();
        }
        assert_eq!(queue.waiting(), 3);
        assert_eq!(queue.take(100).iter().filter(|&&n| n >= 1000).count(), 1);
        let mut queue = filled(4, 2);
        queue.drop_one();
        queue.drop_one();
        assert_eq!(queue.take(100), [2, 3, 1000, 1001]);
    }

    #[test]
    fn who_has_nothing_left_is_forgotten() {
        let mut queue = filled(1, 0);
        queue.drop_one();
        queue.drop_one();
        assert_eq!(
            (queue.waiting(), queue.turns.len(), queue.shares.len()),
            (0, 0, 0)
        );
        queue.push('g', 7);
        assert_eq!(queue.take(9), [7]);
    }
}
