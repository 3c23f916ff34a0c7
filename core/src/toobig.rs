//! What becomes of a packet that is too long for the way ahead, as at any router.
//!
//! IPv4 packets that permit it are fragmented (RFC 791 section 3.2). The senders of all
//! others are told by ICMP how long packets may be (RFC 1191 section 4, RFC 4443 section
//! 3.2). The answer comes from where the packet went.

use crate::packet::{
    checksum, put_word, version, word, word_sum, ICMP, ICMPV6, IPV4_HEADER_LENGTH,
    IPV6_HEADER_LENGTH,
};

/// No answer says less, nor is longer itself.
pub const IPV6_MINIMUM: usize = 1280;
const IPV4_QUOTE: usize = 548;
const IPV6_QUOTE: usize = IPV6_MINIMUM - IPV6_HEADER_LENGTH - 8;
const DONT_FRAGMENT: u16 = 0x4000;
const MORE_FRAGMENTS: u16 = 0x2000;
const HOP_LIMIT: u8 = 64;

/// Return the packet in fragments, `None` if it may have none.
///
/// Packets with options are not fragmented either; there are hardly any.
pub fn fragments(packet: &[u8], longest: usize) -> Option<Vec<Vec<u8>>> {
    if packet.len() < IPV4_HEADER_LENGTH || packet[0] != 0x45 {
        return None;
    }
    let size = usize::from(word(packet, 2));
    let offset = word(packet, 6);
    if offset & DONT_FRAGMENT != 0 || size > packet.len() || size <= IPV4_HEADER_LENGTH {
        return None;
    }
    let step = longest.checked_sub(IPV4_HEADER_LENGTH)? / 8 * 8;
    if step == 0 {
        return None;
    }
    let body = &packet[IPV4_HEADER_LENGTH..size];
    let parts = body.chunks(step).enumerate();
    let fragment = |(number, part): (usize, &[u8])| {
        let mut place = offset.wrapping_add((number * step / 8) as u16);
        if (number + 1) * step < body.len() {
            place |= MORE_FRAGMENTS;
        }
        let mut fragment = packet[..IPV4_HEADER_LENGTH].to_vec();
        put_word(&mut fragment, 2, (IPV4_HEADER_LENGTH + part.len()) as u16);
        put_word(&mut fragment, 6, place);
        complete_ipv4(&mut fragment);
        fragment.extend(part);
        fragment
    };
    Some(parts.map(fragment).collect())
}

/// Return what tells the sender of a packet how long packets may be, or nothing.
///
/// There is no answer to ICMP errors, fragments but the first, and multicast.
pub fn too_big(packet: &[u8], longest: usize) -> Option<Vec<u8>> {
    match version(packet) {
        4 if packet.len() >= IPV4_HEADER_LENGTH => too_big4(packet, longest),
        6 if packet.len() >= IPV6_HEADER_LENGTH => too_big6(packet, longest.max(IPV6_MINIMUM)),
        _ => None,
    }
}

fn too_big4(packet: &[u8], longest: usize) -> Option<Vec<u8>> {
    let length = 4 * usize::from(packet[0] & 15);
    let is_later = word(packet, 6) & 0x1fff != 0;
    let is_error = packet[9] == ICMP && !matches!(packet.get(length), Some(0 | 8));
    if is_later || is_error || packet[16] >= 224 {
        return None;
    }
    let quote = &packet[..packet.len().min(IPV4_QUOTE)];
    let mut answer = vec![0x45, 0, 0, 0, 0, 0, 0, 0, HOP_LIMIT, ICMP, 0, 0];
    answer.extend(&packet[16..20]);
    answer.extend(&packet[12..16]);
    answer.extend([3, 4, 0, 0, 0, 0]);
    answer.extend((longest as u16).to_be_bytes());
    answer.extend(quote);
    let size = answer.len() as u16;
    put_word(&mut answer, 2, size);
    complete_ipv4(&mut answer);
    let sum = checksum(word_sum(&answer[IPV4_HEADER_LENGTH..]));
    put_word(&mut answer, IPV4_HEADER_LENGTH + 2, sum);
    Some(answer)
}

fn too_big6(packet: &[u8], longest: usize) -> Option<Vec<u8>> {
    let is_error = packet[6] == ICMPV6 && packet.get(IPV6_HEADER_LENGTH)? < &128;
    if packet.len() <= longest || packet[24] == 0xff || is_error {
        return None;
    }
    let quote = &packet[..packet.len().min(IPV6_QUOTE)];
    let mut body = vec![2, 0, 0, 0];
    body.extend((longest as u32).to_be_bytes());
    body.extend(quote);
    let ends = word_sum(&packet[8..40]);
    let total = ends + u64::from(ICMPV6) + body.len() as u64 + word_sum(&body);
    put_word(&mut body, 2, checksum(total));
    let mut answer = vec![0x60, 0, 0, 0];
    answer.extend((body.len() as u16).to_be_bytes());
    answer.extend([ICMPV6, HOP_LIMIT]);
    answer.extend(&packet[24..40]);
    answer.extend(&packet[8..24]);
    answer.extend(body);
    Some(answer)
}

/// Write the checksum of the IPv4 header without options that a packet begins with.
fn complete_ipv4(packet: &mut [u8]) {
    put_word(packet, 10, 0);
    let sum = checksum(word_sum(&packet[..IPV4_HEADER_LENGTH]));
    put_word(packet, 10, sum);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::folded;

    fn packet(length: usize) -> Vec<u8> {
        let mut packet = vec![0x45, 0, 0, 0, 0, 9, 0, 0, 64, 17, 0, 0];
        packet.extend([10, 0, 0, 1, 10, 0, 0, 2]);
        packet.extend((20..length).map(|byte| byte as u8));
        put_word(&mut packet, 2, length as u16);
        complete_ipv4(&mut packet);
        packet
    }

    #[test]
    fn fragments_hold_all_that_the_packet_held() {
        let whole = packet(1400);
        let parts = fragments(&whole, 500).unwrap();
        let mut body: Vec<u8> = Vec::new();
        for (number, part) in parts.iter().enumerate() {
            assert!(part.len() <= 500);
            assert_eq!(folded(word_sum(&part[..20])), 0xffff);
            assert_eq!(usize::from(word(part, 2)), part.len());
            assert_eq!(usize::from(word(part, 6) & 0x1fff) * 8, body.len());
            let is_last = number + 1 == parts.len();
            assert_eq!(word(part, 6) & MORE_FRAGMENTS == 0, is_last);
            body.extend(&part[20..]);
        }
        assert_eq!(body, whole[20..]);
    }

    #[test]
    fn what_may_not_be_fragmented_is_not() {
        let mut locked = packet(1400);
        locked[6] = 0x40;
        assert!(fragments(&locked, 500).is_none());
        assert!(fragments(&packet(1400), 27).is_none());
        assert!(fragments(&packet(1400)[..1399], 500).is_none());
        assert!(fragments(&[], 500).is_none());
    }

    #[test]
    fn senders_are_told_the_length() {
        let answer = too_big(&packet(1400), 1300).unwrap();
        assert_eq!(answer.len(), 576);
        assert_eq!(word(&answer, 26), 1300);
        assert_eq!(answer[12..20], [10, 0, 0, 2, 10, 0, 0, 1]);
        assert_eq!(folded(word_sum(&answer[20..])), 0xffff);
    }

    #[test]
    fn errors_and_multicast_get_no_answer() {
        let mut error = packet(1400);
        error[9] = ICMP;
        error[20] = 3;
        assert!(too_big(&error, 1300).is_none());
        let mut many = packet(1400);
        many[16] = 224;
        assert!(too_big(&many, 1300).is_none());
        assert!(too_big(&[0x60; 30], 1300).is_none());
    }
}
