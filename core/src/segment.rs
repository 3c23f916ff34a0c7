//! From the TUN device: one superpacket with its virtio-net header to IP packets.
//!
//! A TUN device with IFF_VNET_HDR hands over TCP and UDP data in packets of up to 64 KiB
//! whose checksums are not computed yet (TSO and USO). What crosses the tunnel must be
//! ordinary packets: this cuts them, as the hardware of a network card would. Each
//! packet is written to where it will be encrypted, so nothing is copied twice.

use crate::packet::{
    checksum, folded, pseudo_sum, put_word, version, word, word_sum, IPV4_HEADER_LENGTH,
    IPV6_HEADER_LENGTH, MIN_TCP_HEADER_LENGTH, TCP, TCP_CWR, TCP_FIN, TCP_PSH, UDP,
    UDP_HEADER_LENGTH,
};
use crate::vnet;

/// The IP packets in what one read of the TUN device returned.
pub struct Segments<'a> {
    packet: &'a [u8],
    kind: Kind,
    /// Of the transport header.
    start: usize,
    /// Of all headers.
    end: usize,
    /// Bytes of payload of all packets but the last.
    size: usize,
    /// How many packets there are.
    pub count: usize,
}

enum Kind {
    /// One packet, complete.
    Whole,
    /// One packet whose checksum, at that offset, is to be completed.
    Unsummed(usize),
    Tcp,
    Udp,
}

impl<'a> Segments<'a> {
    /// Look at a header and an IP packet; `None` if they contradict each other.
    pub fn of(header: &vnet::Header, packet: &'a [u8]) -> Option<Segments<'a>> {
        if header.gso_type == vnet::GSO_NONE {
            return Segments::of_one(header, packet);
        }
        let kind = match (header.gso_type & !vnet::GSO_ECN, version(packet)) {
            (vnet::GSO_TCPV4, 4) | (vnet::GSO_TCPV6, 6) => Kind::Tcp,
            (vnet::GSO_UDP_L4, 4 | 6) => Kind::Udp,
            _ => return None,
        };
        let start = usize::from(header.checksum_start);
        let size = usize::from(header.gso_size);
        if size == 0 || header.flags & vnet::NEEDS_CSUM == 0 || !starts_at(packet, start) {
            return None;
        }
        let length = match kind {
            Kind::Tcp => usize::from(packet.get(start + 12)? >> 4) * 4,
            _ => UDP_HEADER_LENGTH,
        };
        let end = start + length;
        let is_short = matches!(kind, Kind::Tcp) && length < MIN_TCP_HEADER_LENGTH;
        if is_short || end >= packet.len() {
            return None;
        }
        Some(Segments {
            packet,
            kind,
            start,
            end,
            size,
            count: (packet.len() - end).div_ceil(size),
        })
    }

    fn of_one(header: &vnet::Header, packet: &'a [u8]) -> Option<Segments<'a>> {
        let start = usize::from(header.checksum_start);
        let mut kind = Kind::Whole;
        if header.flags & vnet::NEEDS_CSUM != 0 {
            let field = start + usize::from(header.checksum_offset);
            if field + 2 > packet.len() {
                return None;
            }
            kind = Kind::Unsummed(field);
        }
        (!packet.is_empty()).then_some(Segments {
            packet,
            kind,
            start,
            end: packet.len(),
            size: 0,
            count: 1,
        })
    }

    /// Return the headers that all packets share: addresses, protocol and ports.
    pub fn headers(&self) -> &[u8] {
        &self.packet[..self.end]
    }

    /// Return the length of a packet.
    pub fn length(&self, index: usize) -> usize {
        self.end + self.payload(index).len()
    }

    /// Write a packet to where there is just room for it.
    pub fn write(&self, index: usize, out: &mut [u8]) {
        let payload = self.payload(index);
        out[..self.end].copy_from_slice(&self.packet[..self.end]);
        out[self.end..].copy_from_slice(payload);
        match self.kind {
            Kind::Whole => (),
            Kind::Unsummed(field) => {
                let sum = checksum(word_sum(&out[self.start..]));
                put_word(out, field, if sum == 0 { 0xffff } else { sum });
            }
            Kind::Tcp => {
                self.complete_ip(index, out);
                self.complete_tcp(index, out);
            }
            Kind::Udp => {
                self.complete_ip(index, out);
                self.complete_udp(out);
            }
        }
    }

    fn payload(&self, index: usize) -> &'a [u8] {
        let from = self.end + index * self.size;
        let to = (from + self.size).min(self.packet.len());
        &self.packet[from.min(to)..to]
    }

    /// Write the length, and for IPv4 the identification and the checksum.
    fn complete_ip(&self, index: usize, out: &mut [u8]) {
        let length = out.len();
        if version(out) == 6 {
            put_word(out, 4, (length - IPV6_HEADER_LENGTH) as u16);
            return;
        }
        let identification = word(out, 4).wrapping_add(index as u16);
        put_word(out, 2, length as u16);
        put_word(out, 4, identification);
        put_word(out, 10, 0);
        let sum = checksum(word_sum(&out[..self.start]));
        put_word(out, 10, sum);
    }

    /// Write the sequence number, the flags and the checksum.
    fn complete_tcp(&self, index: usize, out: &mut [u8]) {
        let length = out.len() - self.start;
        let pseudo = pseudo_sum(out, TCP, length);
        let transport = &mut out[self.start..];
        let sequence = u32::from_be_bytes(transport[4..8].try_into().expect("it has 4 bytes"));
        let sequence = sequence.wrapping_add((index * self.size) as u32);
        transport[4..8].copy_from_slice(&sequence.to_be_bytes());
        if index > 0 {
            transport[13] &= !TCP_CWR;
        }
        if index + 1 < self.count {
            transport[13] &= !(TCP_FIN | TCP_PSH);
        }
        put_word(transport, 16, 0);
        let sum = checksum(pseudo + word_sum(transport));
        put_word(transport, 16, sum);
    }

    /// Write the length and the checksum.
    fn complete_udp(&self, out: &mut [u8]) {
        let length = out.len() - self.start;
        let pseudo = pseudo_sum(out, UDP, length);
        let transport = &mut out[self.start..];
        put_word(transport, 4, length as u16);
        put_word(transport, 6, 0);
        let sum = checksum(pseudo + word_sum(transport));
        put_word(transport, 6, if sum == 0 { 0xffff } else { sum });
    }
}

/// Return whether the transport header can start there.
fn starts_at(packet: &[u8], start: usize) -> bool {
    if version(packet) == 4 {
        start == usize::from(packet[0] & 15) * 4 && start >= IPV4_HEADER_LENGTH
    } else {
        start >= IPV6_HEADER_LENGTH
    }
}

/// Return whether the checksums of an unfragmented TCP or UDP packet are right.
///
/// The transport header, of that protocol, begins after the IP header.
pub fn is_sound(packet: &[u8], start: usize, protocol: u8) -> bool {
    let transport = &packet[start..];
    let total = pseudo_sum(packet, protocol, transport.len()) + word_sum(transport);
    let ip = version(packet) != 4 || folded(word_sum(&packet[..start])) == 0xffff;
    ip && folded(total) == 0xffff
}

#[cfg(test)]
pub mod tests {
    use super::*;
    use crate::random::Random;

    /// Return the header and the packet of a superpacket.
    pub fn superpacket(
        is_ipv6: bool,
        protocol: u8,
        payload: &[u8],
        size: u16,
    ) -> (vnet::Header, Vec<u8>) {
        let start = if is_ipv6 { 40 } else { 20 };
        let transport = if protocol == TCP { 32 } else { 8 };
        let mut packet = vec![0; start];
        packet[0] = if is_ipv6 { 0x60 } else { 0x45 };
        let protocol_at = if is_ipv6 { 6 } else { 9 };
        packet[protocol_at] = protocol;
        packet[start - 1] = 1;
        packet.extend([0x12, 0x34, 0, 80]);
        packet.resize(start + transport, 0);
        if protocol == TCP {
            packet[start + 4..start + 8].copy_from_slice(&0xffff_ff00u32.to_be_bytes());
            packet[start + 12] = 0x80;
            packet[start + 13] = TCP_ACK_PSH_FIN;
        }
        packet.extend(payload);
        let header = vnet::Header {
            flags: vnet::NEEDS_CSUM,
            gso_type: match (protocol, is_ipv6) {
                (UDP, _) => vnet::GSO_UDP_L4,
                (_, true) => vnet::GSO_TCPV6,
                (_, false) => vnet::GSO_TCPV4,
            },
            header_length: 0,
            gso_size: size,
            checksum_start: start as u16,
            checksum_offset: if protocol == TCP { 16 } else { 6 },
        };
        (header, packet)
    }

    const TCP_ACK_PSH_FIN: u8 = 0x19;

    /// Return all packets of a superpacket.
    pub fn cut(header: &vnet::Header, packet: &[u8]) -> Vec<Vec<u8>> {
        let Some(segments) = Segments::of(header, packet) else {
            return Vec::new();
        };
        (0..segments.count)
            .map(|index| {
                let mut out = vec![0xaa; segments.length(index)];
                segments.write(index, &mut out);
                out
            })
            .collect()
    }

    #[test]
    fn segments_are_sound_and_hold_the_payload() {
        let mut random = Random::new(1);
        for (is_ipv6, protocol) in [(false, TCP), (true, TCP), (false, UDP), (true, UDP)] {
            for length in [1, 99, 100, 101, 1000, 1001] {
                let payload = random.bytes(length);
                let (header, packet) = superpacket(is_ipv6, protocol, &payload, 100);
                let packets = cut(&header, &packet);
                let start = usize::from(header.checksum_start);
                let end = start + if protocol == TCP { 32 } else { 8 };
                let mut joined: Vec<u8> = Vec::new();
                for each in &packets {
                    assert!(is_sound(each, start, protocol));
                    assert_eq!(crate::packet::stated_length(each), each.len());
                    joined.extend(&each[end..]);
                }
                assert_eq!(joined, payload);
            }
        }
    }

    #[test]
    fn sequence_numbers_and_flags_are_those_of_each_segment() {
        let (header, packet) = superpacket(false, TCP, &[0; 600], 200);
        let packets = cut(&header, &packet);
        let sequences: Vec<_> = packets.iter().map(|each| word(each, 26)).collect();
        assert_eq!(sequences, [0xff00, 0xffc8, 0x0090]);
        let flags: Vec<_> = packets.iter().map(|each| each[33]).collect();
        assert_eq!(flags, [0x10, 0x10, 0x19]);
        let numbers: Vec<_> = packets.iter().map(|each| word(each, 4)).collect();
        assert_eq!(numbers, [0, 1, 2]);
    }

    #[test]
    fn contradictions_yield_nothing() {
        let (header, packet) = superpacket(false, TCP, &[0; 600], 200);
        let with = |change: fn(&mut vnet::Header)| {
            let mut header = header;
            change(&mut header);
            header
        };
        for wrong in [
            with(|header| header.gso_size = 0),
            with(|header| header.flags = 0),
            with(|header| header.gso_type = vnet::GSO_TCPV6),
            with(|header| header.gso_type = 77),
            with(|header| header.checksum_start = 24),
            with(|header| header.checksum_start = 6000),
        ] {
            assert!(cut(&wrong, &packet).is_empty(), "{wrong:?}");
        }
        assert!(cut(&header, &packet[..52]).is_empty());
        assert!(cut(&header, &[]).is_empty());
        assert!(cut(&vnet::Header::default(), &[]).is_empty());
    }

    #[test]
    fn a_checksum_outside_the_packet_is_refused() {
        let header = vnet::Header {
            flags: vnet::NEEDS_CSUM,
            checksum_start: 20,
            checksum_offset: 16,
            ..vnet::Header::default()
        };
        assert!(cut(&header, &[0x45; 37]).is_empty());
        assert_eq!(cut(&header, &[0x45; 38]).len(), 1);
    }
}
