//! Messages of one lane that leave together.

use crate::channel;
use crate::constants::{DATA_HEADER_LENGTH, DATA_OVERHEAD, TAG_LENGTH};
use crate::session::{padding_length, Session};
use crate::table::LaneId;

/// The longest UDP payload of an IPv4 packet.
pub const CAPACITY: usize = 65507;
/// UDP_MAX_SEGMENTS of the oldest kernels with UDP_SEGMENT.
pub const MAX_MESSAGES: usize = 64;

/// Messages one after the other, each perhaps with room for a channel's header before it.
pub struct Bundle {
    pub lane: LaneId,
    /// Bytes of that room.
    pub room: usize,
    buffer: Box<[u8]>,
    used: usize,
    ends: Vec<usize>,
}

impl Bundle {
    pub fn new() -> Self {
        Bundle {
            lane: 0,
            room: 0,
            buffer: vec![0; CAPACITY].into_boxed_slice(),
            used: 0,
            ends: Vec::with_capacity(MAX_MESSAGES),
        }
    }

    /// Begin anew, for a lane.
    pub fn begin(&mut self, lane: LaneId, room: usize) {
        self.lane = lane;
        self.room = room;
        self.used = 0;
        self.ends.clear();
    }

    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// Return whether little more can be added: it is worth to be sent as it is.
    pub fn is_ample(&self) -> bool {
        self.used >= CAPACITY / 4 * 3 || self.count() >= MAX_MESSAGES / 4 * 3
    }

    pub fn count(&self) -> usize {
        self.ends.len()
    }

    /// Return the length of the first message, with the room before it.
    pub fn stride(&self) -> usize {
        self.ends.first().copied().unwrap_or(0)
    }

    /// Return whether a packet of that length can be added.
    ///
    /// All messages but the last have one length, so that the kernel can cut them.
    pub fn takes(&self, length: usize, mtu: usize) -> bool {
        let size = self.room + length + padding_length(length, mtu) + DATA_OVERHEAD;
        let (count, stride) = (self.count(), self.stride());
        if count == 0 {
            return size <= CAPACITY;
        }
        let is_full = self.used != count * stride;
        !is_full && count < MAX_MESSAGES && size <= stride && self.used + size <= CAPACITY
    }

    /// Add a packet of that length, which is written to where it belongs, as a message.
    ///
    /// Return the length of the message, `None` if the session's counter has ended.
    pub fn seal(
        &mut self,
        session: &Session,
        length: usize,
        mtu: usize,
        write: impl FnOnce(&mut [u8]),
    ) -> Option<usize> {
        let padded = length + padding_length(length, mtu);
        let start = self.used + self.room;
        let end = start + padded + DATA_OVERHEAD;
        let message = &mut self.buffer[start..end];
        let text = &mut message[DATA_HEADER_LENGTH..DATA_HEADER_LENGTH + padded];
        write(&mut text[..length]);
        text[length..].fill(0);
        if !session.seal(message) {
            return None;
        }
        self.used = end;
        self.ends.push(end);
        Some(padded + DATA_HEADER_LENGTH + TAG_LENGTH)
    }

    /// Return the messages without the room before them.
    pub fn messages(&self) -> impl Iterator<Item = &[u8]> {
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        starts
            .zip(&self.ends)
            .map(|(start, &end)| &self.buffer[start + self.room..end])
    }

    /// Return all messages as they go to the network, and the length of each but the last.
    ///
    /// `other` is where they are put together if that needs another form than they have.
    pub fn framed<'a>(
        &'a mut self,
        channel: Option<u16>,
        other: &'a mut Vec<u8>,
    ) -> (&'a [u8], usize) {
        let room = if channel.is_some() {
            channel::HEADER_LENGTH
        } else {
            0
        };
        if room != self.room {
            other.clear();
            let mut stride = 0;
            for message in self.messages() {
                let start = other.len();
                other.resize(start + room, 0);
                other.extend_from_slice(message);
                if let Some(number) = channel {
                    channel::write_header(&mut other[start..], number);
                }
                stride = stride.max(other.len() - start);
            }
            return (other, stride);
        }
        if let Some(number) = channel {
            let mut start = 0;
            for &end in &self.ends {
                channel::write_header(&mut self.buffer[start..end], number);
                start = end;
            }
        }
        (&self.buffer[..self.used], self.stride())
    }
}

impl Default for Bundle {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::SessionTerms;

    fn session() -> Session {
        let terms = SessionTerms {
            id: 1,
            local_index: 1,
            remote_index: 2,
            usable_until: 180.0,
            expires_at: 180.0,
        };
        Session::new(&[1; 32], &[1; 32], terms)
    }

    fn filled(room: usize, lengths: &[usize]) -> Bundle {
        let mut bundle = Bundle::new();
        bundle.begin(1, room);
        for &length in lengths {
            assert!(bundle.takes(length, 1420));
            bundle.seal(&session(), length, 1420, |text| text.fill(7));
        }
        bundle
    }

    #[test]
    fn only_the_last_message_may_be_shorter() {
        let bundle = filled(0, &[100, 100, 50]);
        assert_eq!(bundle.stride(), 144);
        assert!(!bundle.takes(50, 1420));
        let bundle = filled(0, &[100]);
        assert!(bundle.takes(112, 1420));
        assert!(!bundle.takes(113, 1420));
    }

    #[test]
    fn it_holds_no_more_than_one_call_can_carry() {
        let bundle = filled(0, &[1420; 45]);
        assert!(!bundle.takes(1420, 1420));
        let bundle = filled(0, &[1; 64]);
        assert!(!bundle.takes(1, 1420));
        assert!(!Bundle::new().takes(CAPACITY, 1420));
    }

    #[test]
    fn it_is_ample_before_it_is_full() {
        assert!(!filled(0, &[1420; 33]).is_ample());
        assert!(filled(0, &[1420; 34]).is_ample());
        assert!(!filled(0, &[1; 47]).is_ample());
        assert!(filled(0, &[1; 48]).is_ample());
    }

    #[test]
    fn messages_are_wrapped_and_unwrapped_as_the_way_demands() {
        let mut other = Vec::new();
        for room in [0, 4] {
            let mut bundle = filled(room, &[100, 20]);
            let plain: Vec<_> = bundle.messages().map(<[u8]>::to_vec).collect();
            let (bytes, stride) = bundle.framed(None, &mut other);
            assert_eq!((bytes, stride), (&plain.concat()[..], 144));
            let (bytes, stride) = bundle.framed(Some(0x4001), &mut other);
            assert_eq!((bytes.len(), stride), (144 + 64 + 8, 148));
            assert_eq!(channel::parse(bytes), Some((0x4001, 144)));
            assert_eq!(bytes[4..148], plain[0]);
            assert_eq!(channel::parse(&bytes[148..]), Some((0x4001, 64)));
        }
    }
}
