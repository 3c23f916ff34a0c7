//! Exact flows: what a filter, which is the owner's, lets pass without being asked again.
//!
//! The owner judges the first packet of each flow, and says until when those that follow
//! it pass. What is not known here goes up to it.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hash, Hasher, RandomState};

use crate::packet::{ICMP, ICMPV6, TCP, UDP};

/// Flows, in each direction, that are known.
pub const MAX_FLOWS: usize = 16_384;
/// Bytes of the longest key: a protocol, two IPv6 addresses and two ports.
const KEY_LENGTH: usize = 37;
const ROOM: usize = 40;
const LAST: usize = ROOM - 1;
/// FIN, SYN and RST: a TCP segment with one of them is judged alone.
const BEGIN_OR_END: u8 = 0x07;
/// Bytes of an IPv4 header and one of UDP, or the first eight of another protocol.
const SHORTEST: usize = 28;

/// Where a packet goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Direction {
    /// From a peer to the interface.
    Inbound,
    /// From the interface to a peer.
    Outbound,
}

/// What the packets of an exact flow have in common, as the owner writes it.
///
/// After its bytes there are zeros, and in the end their number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FlowKey([u8; ROOM]);

impl FlowKey {
    /// Return the key of a packet, `None` if it is to be judged by itself.
    ///
    /// The packet may end after its transport header.
    pub fn of(packet: &[u8]) -> Option<FlowKey> {
        let length = packet.len();
        if length < SHORTEST {
            return None;
        }
        if packet[0] == 0x45 {
            if packet[6] & 0x3f != 0 || packet[7] != 0 {
                return None;
            }
            return match packet[9] {
                TCP if length >= 40 && packet[33] & BEGIN_OR_END == 0 => {
                    Some(FlowKey::of_ports::<12>(b'T', &packet[12..]))
                }
                UDP => Some(FlowKey::of_ports::<12>(b'U', &packet[12..])),
                ICMP if matches!(packet[20], 0 | 8) => {
                    Some(FlowKey::of_echoes::<9>(&packet[12..], &packet[24..]))
                }
                _ => None,
            };
        }
        if packet[0] >> 4 != 6 || length < 48 {
            return None;
        }
        match packet[6] {
            TCP if length >= 60 && packet[53] & BEGIN_OR_END == 0 => {
                Some(FlowKey::of_ports::<36>(b'T', &packet[8..]))
            }
            UDP => Some(FlowKey::of_ports::<36>(b'U', &packet[8..])),
            ICMPV6 if matches!(packet[40], 128 | 129) => {
                Some(FlowKey::of_echoes::<33>(&packet[8..], &packet[44..]))
            }
            _ => None,
        }
    }

    /// Return a key of addresses and ports, of so many bytes.
    fn of_ports<const N: usize>(protocol: u8, ends: &[u8]) -> FlowKey {
        let mut key = [0; ROOM];
        key[0] = protocol;
        key[1..=N].copy_from_slice(&ends[..N]);
        key[LAST] = N as u8 + 1;
        FlowKey(key)
    }

    /// Return a key of addresses and a type, of so many bytes, and an identifier.
    fn of_echoes<const N: usize>(ends: &[u8], identifier: &[u8]) -> FlowKey {
        let mut key = [0; ROOM];
        key[..N].copy_from_slice(&ends[..N]);
        key[N..N + 2].copy_from_slice(&identifier[..2]);
        key[LAST] = N as u8 + 2;
        FlowKey(key)
    }

    /// Return the key that the owner has written, `None` if it cannot be one.
    pub fn from_bytes(bytes: &[u8]) -> Option<FlowKey> {
        let mut key = [0; ROOM];
        key[LAST] = bytes.len() as u8;
        key[..KEY_LENGTH]
            .get_mut(..bytes.len())?
            .copy_from_slice(bytes);
        Some(FlowKey(key))
    }

    pub fn as_bytes(&self) -> &[u8] {
        &self.0[..usize::from(self.0[LAST])]
    }
}

impl Hash for FlowKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let length = self.as_bytes().len().next_multiple_of(8);
        state.write(&self.0[..length]);
    }
}

/// Hashes keys, which peers choose, so that they cannot know which ones collide.
#[derive(Clone, Copy)]
struct Secret {
    start: u64,
    factor: u64,
}

impl Default for Secret {
    fn default() -> Self {
        let random = || RandomState::new().build_hasher().finish();
        Secret {
            start: random(),
            factor: random() | 1,
        }
    }
}

impl BuildHasher for Secret {
    type Hasher = KeyHasher;

    fn build_hasher(&self) -> KeyHasher {
        KeyHasher {
            state: self.start,
            factor: self.factor,
        }
    }
}

/// Multiplies each eight bytes, and mixes both halves of the product.
struct KeyHasher {
    state: u64,
    factor: u64,
}

impl Hasher for KeyHasher {
    fn write(&mut self, bytes: &[u8]) {
        for part in bytes.chunks_exact(8) {
            let word = u64::from_ne_bytes(part.try_into().expect("it has 8 bytes"));
            self.state = mixed(self.state ^ word, self.factor);
        }
    }

    /// Mix once more: ports are a few bits of the last word, and some factors would
    /// leave bits of the hash untouched by them.
    fn finish(&self) -> u64 {
        mixed(self.state, self.factor.rotate_left(32))
    }
}

/// Return both halves of a product, one over the other.
fn mixed(number: u64, factor: u64) -> u64 {
    let product = u128::from(number) * u128::from(factor);
    (product as u64) ^ (product >> 64) as u64
}

type Times = HashMap<FlowKey, f64, Secret>;

/// Until when flows pass, by direction.
#[derive(Default)]
pub struct Flows {
    inbound: Times,
    outbound: Times,
}

impl Flows {
    /// Return whether a packet passes without being judged.
    pub fn pass(&self, packet: &[u8], direction: Direction, now: f64) -> bool {
        let known = match direction {
            Direction::Inbound => &self.inbound,
            Direction::Outbound => &self.outbound,
        };
        FlowKey::of(packet)
            .and_then(|key| known.get(&key))
            .is_some_and(|&until| now < until)
    }

    /// Let a flow pass until then, or not any more.
    pub fn set(&mut self, key: FlowKey, direction: Direction, until: Option<f64>) {
        let known = self.of(direction);
        let Some(until) = until else {
            known.remove(&key);
            return;
        };
        if known.len() >= MAX_FLOWS && !known.contains_key(&key) {
            known.clear();
        }
        known.insert(key, until);
    }

    pub fn clear(&mut self, direction: Direction) {
        self.of(direction).clear();
    }

    fn of(&mut self, direction: Direction) -> &mut Times {
        match direction {
            Direction::Inbound => &mut self.inbound,
            Direction::Outbound => &mut self.outbound,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Direction::{Inbound, Outbound};
    use super::*;

    fn udp(port: u16) -> Vec<u8> {
        let mut packet = vec![0; 28];
        (packet[0], packet[9]) = (0x45, UDP);
        packet[20..22].copy_from_slice(&port.to_be_bytes());
        packet
    }

    fn key(port: u16) -> FlowKey {
        FlowKey::of(&udp(port)).unwrap()
    }

    #[test]
    fn a_flow_passes_in_its_direction_until_its_time() {
        let mut flows = Flows::default();
        flows.set(key(1), Inbound, Some(10.0));
        assert!(flows.pass(&udp(1), Inbound, 9.9));
        assert!(!flows.pass(&udp(1), Inbound, 10.0));
        assert!(!flows.pass(&udp(1), Outbound, 9.9));
        assert!(!flows.pass(&udp(2), Inbound, 9.9));
        flows.set(key(1), Inbound, None);
        assert!(!flows.pass(&udp(1), Inbound, 9.9));
    }

    #[test]
    fn what_has_no_key_never_passes() {
        let mut flows = Flows::default();
        flows.set(FlowKey::from_bytes(b"").unwrap(), Inbound, Some(10.0));
        assert!(!flows.pass(&[], Inbound, 1.0));
        assert!(!flows.pass(&udp(1)[..27], Inbound, 1.0));
    }

    #[test]
    fn segments_that_begin_or_end_a_connection_have_no_key() {
        let mut segment = vec![0; 40];
        (segment[0], segment[9]) = (0x45, TCP);
        assert_eq!(FlowKey::of(&segment).unwrap().as_bytes()[0], b'T');
        for flags in [1, 2, 4, 0x11] {
            segment[33] = flags;
            assert_eq!(FlowKey::of(&segment), None);
        }
    }

    #[test]
    fn fragments_have_no_key() {
        for (field, value) in [(6, 0x20), (6, 1), (7, 1)] {
            let mut packet = udp(1);
            packet[field] = value;
            assert_eq!(FlowKey::of(&packet), None);
        }
    }

    #[test]
    fn keys_survive_being_written() {
        assert_eq!(FlowKey::from_bytes(key(7).as_bytes()), Some(key(7)));
        assert_eq!(FlowKey::from_bytes(&[0; KEY_LENGTH + 1]), None);
    }

    #[test]
    fn no_bits_of_a_hash_stay_the_same() {
        for _ in 0..100 {
            let secret = Secret::default();
            let hashes = |port| secret.hash_one(key(port));
            let (all, any) = (0..256)
                .map(hashes)
                .fold((u64::MAX, 0), |(all, any), hash| (all & hash, any | hash));
            assert_eq!((all, any), (0, u64::MAX));
        }
    }

    #[test]
    fn when_there_are_too_many_they_begin_anew() {
        let mut flows = Flows::default();
        for port in 0..=MAX_FLOWS as u16 {
            flows.set(key(port), Outbound, Some(10.0));
        }
        assert!(!flows.pass(&udp(0), Outbound, 1.0));
        assert!(flows.pass(&udp(MAX_FLOWS as u16), Outbound, 1.0));
    }
}
