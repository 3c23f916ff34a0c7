//! To the TUN device: IP packets to superpackets with their virtio-net headers.
//!
//! One write of a superpacket costs the kernel little more than one write of a packet,
//! and its TCP receives one large segment instead of forty. Packets are joined by the
//! rules of the kernel's own GRO: headers that differ only in length, identification,
//! checksums and the expected sequence number; equal sizes but for the last; PSH only on
//! the last. The kernel computes the checksum of what is joined, so only packets whose
//! checksums were right are joined: none is laundered, wherever they go next.
//!
//! Packets stay where they were decrypted, in a buffer that is the caller's. A run knows
//! where its pieces are, and has a copy of the headers alone.

use std::io::IoSlice;
use std::ops::Range;

use crate::constants::MAX_PACKET;
use crate::packet::{
    checksum, folded, pseudo_sum, put_word, stated_length, version, word, word_sum,
    IPV4_HEADER_LENGTH, IPV6_HEADER_LENGTH, MIN_TCP_HEADER_LENGTH, TCP, TCP_ACK, TCP_PSH, UDP,
    UDP_HEADER_LENGTH,
};
use crate::segment::is_sound;
use crate::vnet;

/// Bytes of the longest headers: those of IPv6, and of TCP with all its options.
const MAX_HEADERS: usize = IPV6_HEADER_LENGTH + 60;
/// UDP_MAX_SEGMENTS of the oldest kernels that know UDP superpackets.
const MAX_UDP_SEGMENTS: usize = 64;
/// Pieces of one write, of which the system permits 1,024.
const MAX_PIECES: usize = 1000;
/// Runs that are looked at for one that a packet belongs to.
const MAX_LOOKS: usize = 16;

/// What the device can take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Offloads {
    /// Whether packets have virtio-net headers.
    pub has_header: bool,
    /// Whether TCP superpackets are known.
    pub tcp: bool,
    /// Whether UDP superpackets are known (Linux 6.2).
    pub udp: bool,
}

impl Offloads {
    /// What a device has that exchanges nothing but packets.
    pub const NONE: Offloads = Offloads {
        has_header: false,
        tcp: false,
        udp: false,
    };
}

/// Packets that wait to be written together.
pub struct Coalescer {
    pub offloads: Offloads,
    runs: Vec<Run>,
    /// How many of the runs are in use; the others only keep their memory.
    used: usize,
}

impl Coalescer {
    pub fn new(offloads: Offloads) -> Self {
        Coalescer {
            offloads,
            runs: Vec::new(),
            used: 0,
        }
    }

    pub fn is_empty(&self) -> bool {
        self.used == 0
    }

    /// Take a packet, which is at that place of the buffer.
    ///
    /// Packets of one flow keep their order, those of different flows need not.
    pub fn add(&mut self, buffer: &[u8], place: Range<usize>) {
        let packet = &buffer[place.clone()];
        let layout = Layout::of(packet, self.offloads);
        if layout.is_some() {
            let mut recent = self.runs[..self.used].iter_mut().rev().take(MAX_LOOKS);
            if let Some(run) = recent.find(|run| run.is_of_flow(packet)) {
                if run.extend(buffer, &place) {
                    return;
                }
            }
        }
        if self.used == self.runs.len() {
            self.runs.push(Run::new());
        }
        self.runs[self.used].begin(packet, place, layout);
        self.used += 1;
    }

    /// Write everything: the parts of each write, a virtio-net header first if any.
    pub fn flush(&mut self, buffer: &[u8], mut write: impl FnMut(&[IoSlice], usize)) {
        let has_header = self.offloads.has_header;
        for run in &mut self.runs[..self.used] {
            run.write(buffer, has_header, &mut write);
        }
        self.used = 0;
    }
}

/// Where things are in the headers of a packet that others can be joined to.
#[derive(Clone, Copy)]
struct Layout {
    protocol: u8,
    /// Of the transport header.
    start: usize,
    /// Of the headers.
    end: usize,
}

impl Layout {
    fn of(packet: &[u8], offloads: Offloads) -> Option<Layout> {
        let (start, protocol) = plain_ip_header(packet)?;
        let transport = &packet[start..];
        let end = match protocol {
            TCP if offloads.tcp && transport.len() > MIN_TCP_HEADER_LENGTH => {
                let length = usize::from(transport[12] >> 4) * 4;
                let is_data = transport[13] & !TCP_PSH == TCP_ACK && transport[12] & 15 == 0;
                if !is_data || length < MIN_TCP_HEADER_LENGTH {
                    return None;
                }
                start + length
            }
            UDP if offloads.udp && transport.len() > UDP_HEADER_LENGTH => {
                let is_whole = usize::from(word(transport, 4)) == transport.len();
                if !is_whole || word(transport, 6) == 0 {
                    return None;
                }
                start + UDP_HEADER_LENGTH
            }
            _ => return None,
        };
        (end < packet.len()).then_some(Layout {
            protocol,
            start,
            end,
        })
    }
}

/// Return the length and the protocol of an IP header, if the packet is whole, and no
/// other headers, options or fragments are in the way.
fn plain_ip_header(packet: &[u8]) -> Option<(usize, u8)> {
    let (start, protocol) = match version(packet) {
        4 if packet.len() >= IPV4_HEADER_LENGTH && packet[0] == 0x45 => {
            if word(packet, 6) & 0x3fff != 0 {
                return None;
            }
            (IPV4_HEADER_LENGTH, packet[9])
        }
        6 if packet.len() >= IPV6_HEADER_LENGTH => (IPV6_HEADER_LENGTH, packet[6]),
        _ => return None,
    };
    (stated_length(packet) == packet.len()).then_some((start, protocol))
}

/// Packets of one flow that follow each other.
struct Run {
    headers: [u8; MAX_HEADERS],
    layout: Option<Layout>,
    /// The first piece is a whole packet, the others are payloads.
    pieces: Vec<Range<usize>>,
    /// Bytes of the first packet.
    size: usize,
    /// Bytes of the superpacket.
    total: usize,
    is_open: bool,
    /// Whether the checksums of the first packet were looked at.
    is_verified: bool,
}

impl Run {
    fn new() -> Self {
        Run {
            headers: [0; MAX_HEADERS],
            layout: None,
            pieces: Vec::new(),
            size: 0,
            total: 0,
            is_open: false,
            is_verified: false,
        }
    }

    fn begin(&mut self, packet: &[u8], place: Range<usize>, layout: Option<Layout>) {
        self.layout = layout;
        self.pieces.clear();
        self.pieces.push(place);
        self.size = packet.len();
        self.total = packet.len();
        self.is_verified = false;
        self.is_open = false;
        // A packet that is alone keeps its place in the order of its flow.
        let known = packet.len().min(MAX_HEADERS);
        self.headers[..known].copy_from_slice(&packet[..known]);
        self.headers[known..].fill(0);
        if let Some(layout) = layout {
            self.is_open = layout.protocol == UDP || packet[layout.start + 13] & TCP_PSH == 0;
        }
    }

    /// Return whether a packet has the addresses, the ports and the protocol of this run.
    fn is_of_flow(&self, packet: &[u8]) -> bool {
        let headers = &self.headers;
        if version(packet) != version(headers) {
            return false;
        }
        if version(packet) == 4 {
            packet[9] == headers[9] && packet[12..24] == headers[12..24]
        } else {
            packet[6] == headers[6] && packet[8..44] == headers[8..44]
        }
    }

    /// Add a packet of the same flow, if it is the next one.
    fn extend(&mut self, buffer: &[u8], place: &Range<usize>) -> bool {
        let Some(layout) = self.layout.filter(|_| self.is_open) else {
            return false;
        };
        let packet = &buffer[place.clone()];
        if !self.is_followed_by(packet, layout) || !self.has_room_for(packet, layout) {
            return false;
        }
        if !self.is_verified {
            let first = &buffer[self.pieces[0].clone()];
            self.is_verified = is_sound(first, layout.start, layout.protocol);
            self.is_open = self.is_verified;
        }
        if !self.is_open || !is_sound(packet, layout.start, layout.protocol) {
            return false;
        }
        let payload = place.start + layout.end..place.end;
        self.total += payload.len();
        self.pieces.push(payload);
        if layout.protocol == TCP {
            let push = packet[layout.start + 13] & TCP_PSH;
            self.headers[layout.start + 13] |= push;
            self.is_open = push == 0;
        }
        self.is_open &= packet.len() == self.size;
        true
    }

    fn has_room_for(&self, packet: &[u8], layout: Layout) -> bool {
        let most = if layout.protocol == UDP {
            MAX_UDP_SEGMENTS
        } else {
            MAX_PIECES
        };
        packet.len() <= self.size
            && self.pieces.len() < most
            && self.total + packet.len() - layout.end <= MAX_PACKET
    }

    /// Return whether the headers of a packet are those that come next.
    fn is_followed_by(&self, packet: &[u8], layout: Layout) -> bool {
        if packet.len() <= layout.end || !self.has_ip_header_of(packet) {
            return false;
        }
        let ours = &self.headers[layout.start..layout.end];
        let theirs = &packet[layout.start..layout.end];
        if layout.protocol == UDP {
            return true;
        }
        let sequence =
            |header: &[u8]| u32::from_be_bytes([header[4], header[5], header[6], header[7]]);
        let carried = (self.total - layout.end) as u32;
        sequence(theirs) == sequence(ours).wrapping_add(carried)
            && theirs[8..13] == ours[8..13]
            && theirs[13] & !TCP_PSH == ours[13] & !TCP_PSH
            && theirs[14..16] == ours[14..16]
            && theirs[18..] == ours[18..]
    }

    /// Compare what is to be the same; the flow is known to be.
    fn has_ip_header_of(&self, packet: &[u8]) -> bool {
        let headers = &self.headers;
        if version(packet) == 4 {
            packet[..2] == headers[..2] && packet[6..9] == headers[6..9]
        } else {
            packet[..4] == headers[..4] && packet[7] == headers[7]
        }
    }

    fn write(
        &mut self,
        buffer: &[u8],
        has_header: bool,
        write: &mut impl FnMut(&[IoSlice], usize),
    ) {
        let first = &buffer[self.pieces[0].clone()];
        let layout = match self.layout {
            Some(layout) if self.pieces.len() > 1 => layout,
            _ => {
                let plain = vnet::Header::default().to_bytes();
                let parts = [IoSlice::new(&plain), IoSlice::new(first)];
                write(&parts[usize::from(!has_header)..], 1);
                return;
            }
        };
        let header = self.complete(layout).to_bytes();
        let mut parts = Vec::with_capacity(self.pieces.len() + 2);
        parts.push(IoSlice::new(&header));
        parts.push(IoSlice::new(&self.headers[..layout.end]));
        parts.push(IoSlice::new(&first[layout.end..]));
        let rest = self.pieces[1..].iter();
        parts.extend(rest.map(|piece| IoSlice::new(&buffer[piece.clone()])));
        write(&parts, self.pieces.len());
    }

    /// Make the headers those of the superpacket, and return what stands before them.
    fn complete(&mut self, layout: Layout) -> vnet::Header {
        let headers = &mut self.headers[..layout.end];
        let is_ipv4 = version(headers) == 4;
        if is_ipv4 {
            put_word(headers, 2, self.total as u16);
            put_word(headers, 10, 0);
            let sum = checksum(word_sum(&headers[..layout.start]));
            put_word(headers, 10, sum);
        } else {
            put_word(headers, 4, (self.total - IPV6_HEADER_LENGTH) as u16);
        }
        let length = self.total - layout.start;
        let partial = folded(pseudo_sum(headers, layout.protocol, length));
        let field = if layout.protocol == TCP { 16 } else { 6 };
        put_word(headers, layout.start + field, partial);
        if layout.protocol == UDP {
            put_word(headers, layout.start + 4, length as u16);
        }
        vnet::Header {
            flags: vnet::NEEDS_CSUM,
            gso_type: match (layout.protocol, is_ipv4) {
                (UDP, _) => vnet::GSO_UDP_L4,
                (_, true) => vnet::GSO_TCPV4,
                (_, false) => vnet::GSO_TCPV6,
            },
            header_length: layout.end as u16,
            gso_size: (self.size - layout.end) as u16,
            checksum_start: layout.start as u16,
            checksum_offset: field as u16,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Random;
    use crate::segment::tests::{cut, superpacket};

    const ALL: Offloads = Offloads {
        has_header: true,
        tcp: true,
        udp: true,
    };

    /// Return what is written, each write as one.
    fn written(packets: &[Vec<u8>], offloads: Offloads) -> Vec<Vec<u8>> {
        let mut buffer = Vec::new();
        let mut coalescer = Coalescer::new(offloads);
        let mut places = Vec::new();
        for packet in packets {
            places.push(buffer.len()..buffer.len() + packet.len());
            buffer.extend(packet);
        }
        for place in places {
            coalescer.add(&buffer, place);
        }
        let mut writes = Vec::new();
        coalescer.flush(&buffer, |parts, _| {
            writes.push(parts.iter().flat_map(|part| part.to_vec()).collect());
        });
        assert!(coalescer.is_empty());
        writes
    }

    fn undone(writes: &[Vec<u8>]) -> Vec<Vec<u8>> {
        let parts = writes
            .iter()
            .map(|write| vnet::Header::parse(write).unwrap());
        parts
            .flat_map(|(header, packet)| cut(&header, packet))
            .collect()
    }

    #[test]
    fn what_was_cut_is_joined_to_the_same_again() {
        let mut random = Random::new(1);
        for (is_ipv6, protocol) in [(false, TCP), (true, TCP), (false, UDP), (true, UDP)] {
            for length in [150, 1000, 1001, 6400] {
                let payload = random.bytes(length);
                let (header, packet) = superpacket(is_ipv6, protocol, &payload, 100);
                let mut packets = cut(&header, &packet);
                let end = packets.len() - 1;
                if protocol == TCP {
                    // A FIN ends a flow, and is not joined.
                    packets.truncate(end);
                }
                let writes = written(&packets, ALL);
                assert_eq!(writes.len(), 1, "{is_ipv6} {protocol} {length}");
                assert_eq!(undone(&writes), packets);
            }
        }
    }

    #[test]
    fn a_wrong_checksum_is_not_laundered() {
        let (header, packet) = superpacket(false, TCP, &[7; 1000], 100);
        let packets = cut(&header, &packet);
        for wrong in 0..4 {
            let mut packets = packets[..4].to_vec();
            packets[wrong][60] ^= 1;
            let writes = written(&packets, ALL);
            assert!(undone(&writes).contains(&packets[wrong]));
            assert!(writes.iter().any(|write| write[10..] == packets[wrong]));
        }
    }

    #[test]
    fn flows_are_kept_apart_and_in_order() {
        let (header, packet) = superpacket(false, TCP, &[7; 1000], 100);
        let one = cut(&header, &packet);
        let mut other = packet.clone();
        other[21] ^= 1;
        let other = cut(&header, &other);
        let mixed: Vec<_> = one[..5]
            .iter()
            .zip(&other[..5])
            .flat_map(|(a, b)| [a.clone(), b.clone()])
            .collect();
        let writes = written(&mixed, ALL);
        assert_eq!(writes.len(), 2);
        assert_eq!(undone(&writes), [&one[..5], &other[..5]].concat());
    }

    #[test]
    fn a_gap_a_push_or_a_shorter_packet_ends_a_run() {
        let (header, packet) = superpacket(false, TCP, &[7; 1000], 100);
        let packets = cut(&header, &packet);
        let gap = [&packets[..3], &packets[4..6]].concat();
        assert_eq!(written(&gap, ALL).len(), 2);
        assert_eq!(undone(&written(&gap, ALL)), gap);
    }

    #[test]
    fn without_offloads_packets_are_written_as_they_are() {
        let (header, packet) = superpacket(false, TCP, &[7; 1000], 100);
        let packets = cut(&header, &packet);
        assert_eq!(written(&packets, Offloads::NONE), packets);
        let (header, packet) = superpacket(false, UDP, &[7; 1000], 100);
        let packets = cut(&header, &packet);
        let tcp_only = Offloads { udp: false, ..ALL };
        assert_eq!(written(&packets, tcp_only).len(), packets.len());
    }

    #[test]
    fn anything_is_written_unchanged() {
        let mut random = Random::new(2);
        for _ in 0..300 {
            let packets: Vec<_> = (0..random.below(6))
                .map(|_| {
                    let length = random.below(80) as usize;
                    let mut packet = random.bytes(length);
                    if let Some(first) = packet.first_mut() {
                        *first = if random.one_in(2) { 0x45 } else { 0x60 };
                    }
                    packet
                })
                .collect();
            let writes = written(&packets, ALL);
            let bodies: Vec<_> = writes.iter().map(|write| write[10..].to_vec()).collect();
            assert_eq!(bodies, packets);
        }
    }
}
