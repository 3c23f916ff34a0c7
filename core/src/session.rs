//! One keypair: sealing packets into data messages, and opening them again.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};

use ring::aead::{Aad, LessSafeKey, Nonce, UnboundKey, CHACHA20_POLY1305};

use crate::constants::{
    DATA_HEADER_LENGTH, DATA_OVERHEAD, MESSAGE_DATA, PADDING_MULTIPLE, REJECT_AFTER_MESSAGES,
    TAG_LENGTH,
};
use crate::drops::Drop;
use crate::replay::ReplayWindow;

/// A keypair with its counters (paper, section 5.4.6).
pub struct Session {
    /// What its owner knows it by.
    pub id: u64,
    /// The receiver index of its messages to us.
    pub local_index: u32,
    /// The time from which nothing is sealed with it.
    pub usable_until: f64,
    /// The time from which nothing is opened with it.
    pub expires_at: f64,
    /// Whether its owner has seen messages of it.
    pub is_noted: AtomicBool,
    remote_index: u32,
    sealing: LessSafeKey,
    opening: LessSafeKey,
    sent: AtomicU64,
    is_retired: AtomicBool,
    replay: Mutex<ReplayWindow>,
}

/// What is said of a session that is made.
pub struct SessionTerms {
    pub id: u64,
    pub local_index: u32,
    pub remote_index: u32,
    pub usable_until: f64,
    pub expires_at: f64,
}

impl Session {
    pub fn new(sending_key: &[u8; 32], receiving_key: &[u8; 32], terms: SessionTerms) -> Self {
        Session {
            id: terms.id,
            local_index: terms.local_index,
            usable_until: terms.usable_until,
            expires_at: terms.expires_at,
            is_noted: AtomicBool::new(false),
            remote_index: terms.remote_index,
            sealing: cipher(sending_key),
            opening: cipher(receiving_key),
            sent: AtomicU64::new(0),
            is_retired: AtomicBool::new(false),
            replay: Mutex::new(ReplayWindow::new()),
        }
    }

    /// Return how many messages were sealed, which is the next counter.
    pub fn sent(&self) -> u64 {
        self.sent.load(Relaxed)
    }

    pub fn set_sent(&self, sent: u64) {
        self.sent.store(sent, Relaxed);
    }

    /// Return the counter after the newest that was received.
    pub fn expected(&self) -> u64 {
        self.lock_replay().next()
    }

    /// Never seal again; what is on its way can still be opened.
    pub fn retire(&self) {
        self.is_retired.store(true, Relaxed);
    }

    /// Return whether packets can be sealed with it.
    pub fn seals(&self, now: f64) -> bool {
        now < self.usable_until && !self.is_retired.load(Relaxed)
    }

    /// Make a data message in place; return whether a counter was left for it.
    ///
    /// The packet, padded, stands in the middle of the message: before it is room for a
    /// header, and after it for the tag.
    pub fn seal(&self, message: &mut [u8]) -> bool {
        let counter = self.sent.fetch_add(1, Relaxed);
        if counter >= REJECT_AFTER_MESSAGES {
            self.sent.store(REJECT_AFTER_MESSAGES, Relaxed);
            return false;
        }
        let (header, rest) = message.split_at_mut(DATA_HEADER_LENGTH);
        header[..4].copy_from_slice(&MESSAGE_DATA.to_le_bytes());
        header[4..8].copy_from_slice(&self.remote_index.to_le_bytes());
        header[8..].copy_from_slice(&counter.to_le_bytes());
        let (text, tag) = rest.split_at_mut(rest.len() - TAG_LENGTH);
        let made = self
            .sealing
            .seal_in_place_separate_tag(nonce(counter), Aad::empty(), text)
            .expect("a packet is short enough to be encrypted");
        tag.copy_from_slice(made.as_ref());
        true
    }

    /// Open a data message of at least 32 bytes in place.
    ///
    /// Return its plaintext's length; it begins after the header.
    pub fn open(&self, message: &mut [u8]) -> Result<usize, Drop> {
        let mut field = [0; 8];
        field.copy_from_slice(&message[8..DATA_HEADER_LENGTH]);
        let counter = u64::from_le_bytes(field);
        self.opening
            .open_in_place(
                nonce(counter),
                Aad::empty(),
                &mut message[DATA_HEADER_LENGTH..],
            )
            .map_err(|_| Drop::NotAuthentic)?;
        // The window has to be shown authentic counters only.
        if !self.lock_replay().accept(counter) {
            return Err(Drop::Replay);
        }
        Ok(message.len() - DATA_OVERHEAD)
    }

    fn lock_replay(&self) -> std::sync::MutexGuard<'_, ReplayWindow> {
        self.replay.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Return how many zeros follow a packet (paper, section 5.4.6).
///
/// Packets are padded to a multiple of 16 bytes, but not beyond the MTU. One that is
/// longer than the MTU is seen as several that would each fit.
pub fn padding_length(length: usize, mtu: usize) -> usize {
    let last = if mtu > 0 && length > mtu {
        length % mtu
    } else {
        length
    };
    let padded = last.next_multiple_of(PADDING_MULTIPLE);
    let limit = if mtu > 0 { mtu } else { padded };
    padded.min(limit) - last
}

fn cipher(key: &[u8; 32]) -> LessSafeKey {
    LessSafeKey::new(UnboundKey::new(&CHACHA20_POLY1305, key).expect("a key has 32 bytes"))
}

fn nonce(counter: u64) -> Nonce {
    let mut bytes = [0; 12];
    bytes[4..].copy_from_slice(&counter.to_le_bytes());
    Nonce::assume_unique_for_key(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair() -> (Session, Session) {
        let terms = |local_index, remote_index| SessionTerms {
            id: 0,
            local_index,
            remote_index,
            usable_until: 180.0,
            expires_at: 180.0,
        };
        (
            Session::new(&[1; 32], &[2; 32], terms(1, 2)),
            Session::new(&[2; 32], &[1; 32], terms(2, 1)),
        )
    }

    fn message(session: &Session, packet: &[u8]) -> Vec<u8> {
        let mut message = vec![0; DATA_HEADER_LENGTH];
        message.extend(packet);
        message.extend([0; TAG_LENGTH]);
        assert!(session.seal(&mut message));
        message
    }

    #[test]
    fn what_one_end_seals_the_other_opens_once() {
        let (ours, theirs) = pair();
        let sealed = message(&ours, b"packet");
        assert_eq!(sealed[..8], [4, 0, 0, 0, 2, 0, 0, 0]);
        let mut arrived = sealed.clone();
        assert_eq!(theirs.open(&mut arrived), Ok(6));
        assert_eq!(&arrived[16..22], b"packet");
        assert_eq!(theirs.open(&mut sealed.clone()), Err(Drop::Replay));
    }

    #[test]
    fn a_forged_message_does_not_move_the_window() {
        let (ours, theirs) = pair();
        let sealed = message(&ours, b"packet");
        for position in 8..sealed.len() {
            let mut forged = sealed.clone();
            forged[position] ^= 1;
            assert_eq!(theirs.open(&mut forged), Err(Drop::NotAuthentic));
        }
        assert_eq!(theirs.expected(), 0);
        assert_eq!(theirs.open(&mut sealed.clone()), Ok(6));
    }

    #[test]
    fn no_counter_is_used_twice_at_the_end() {
        let (ours, _) = pair();
        ours.set_sent(REJECT_AFTER_MESSAGES - 1);
        assert!(ours.seal(&mut [0; 32]));
        for _ in 0..3 {
            assert!(!ours.seal(&mut [0; 32]));
        }
        assert_eq!(ours.sent(), REJECT_AFTER_MESSAGES);
    }

    #[test]
    fn nothing_is_sealed_after_its_time_or_once_it_is_retired() {
        let (ours, _) = pair();
        assert!(ours.seals(179.9));
        assert!(!ours.seals(180.0));
        ours.retire();
        assert!(!ours.seals(0.0));
    }

    #[test]
    fn padding_ends_at_the_mtu() {
        for (length, mtu, padding) in [
            (0, 1420, 0),
            (1, 1420, 15),
            (16, 1420, 0),
            (1419, 1420, 1),
            (1420, 1420, 0),
            (1421, 1420, 15),
            (2840, 1420, 0),
            (17, 0, 15),
        ] {
            assert_eq!(padding_length(length, mtu), padding, "{length} of {mtu}");
        }
    }
}
