//! IP, TCP and UDP headers as the data path sees them: offsets and checksums.

pub const ICMP: u8 = 1;
pub const TCP: u8 = 6;
pub const UDP: u8 = 17;
pub const ICMPV6: u8 = 58;

pub const IPV4_HEADER_LENGTH: usize = 20;
pub const IPV6_HEADER_LENGTH: usize = 40;
pub const MIN_TCP_HEADER_LENGTH: usize = 20;
pub const UDP_HEADER_LENGTH: usize = 8;

pub const TCP_FIN: u8 = 0x01;
pub const TCP_PSH: u8 = 0x08;
pub const TCP_ACK: u8 = 0x10;
pub const TCP_CWR: u8 = 0x80;

/// Return the 16-bit number at an offset.
pub fn word(data: &[u8], offset: usize) -> u16 {
    u16::from_be_bytes([data[offset], data[offset + 1]])
}

/// Write a 16-bit number at an offset.
pub fn put_word(data: &mut [u8], offset: usize, value: u16) {
    data[offset..offset + 2].copy_from_slice(&value.to_be_bytes());
}

/// Return the version in an IP header, 0 if there is nothing.
pub fn version(packet: &[u8]) -> u8 {
    packet.first().map_or(0, |first| first >> 4)
}

/// Return the one's complement sum of the 16-bit words, an odd last byte padded.
///
/// It is not reduced to 16 bits, so that sums can be added (RFC 1071).
pub fn word_sum(data: &[u8]) -> u64 {
    let mut lanes = [0u64; 4];
    let mut blocks = data.chunks_exact(32);
    for block in &mut blocks {
        for (lane, part) in lanes.iter_mut().zip(block.chunks_exact(8)) {
            let number = u64::from_ne_bytes(part.try_into().expect("it has 8 bytes"));
            *lane += (number & 0xffff_ffff) + (number >> 32);
        }
    }
    let mut total: u64 = lanes.iter().sum();
    for part in blocks.remainder().chunks(2) {
        let pair = [part[0], part.get(1).copied().unwrap_or(0)];
        total += u64::from(u16::from_ne_bytes(pair));
    }
    // The sum of swapped words is the swapped sum of words.
    u16::from_be_bytes(folded(total).to_ne_bytes()).into()
}

/// Return a sum reduced to 16 bits.
pub fn folded(mut total: u64) -> u16 {
    while total > 0xffff {
        total = (total & 0xffff) + (total >> 16);
    }
    total as u16
}

/// Return the checksum field that makes words of this sum valid.
pub fn checksum(total: u64) -> u16 {
    !folded(total)
}

/// Return the sum of the pseudo-header (RFC 793 section 3.1, RFC 8200 section 8.1).
///
/// The packet starts with a whole IP header; the length is that of what follows it.
pub fn pseudo_sum(packet: &[u8], protocol: u8, length: usize) -> u64 {
    let addresses = if version(packet) == 4 {
        &packet[12..20]
    } else {
        &packet[8..40]
    };
    word_sum(addresses) + u64::from(protocol) + length as u64
}

/// Return an IP packet's source and destination, if it has room for them.
pub fn addresses(packet: &[u8]) -> Option<(&[u8], &[u8])> {
    match version(packet) {
        4 if packet.len() >= IPV4_HEADER_LENGTH => Some((&packet[12..16], &packet[16..20])),
        6 if packet.len() >= IPV6_HEADER_LENGTH => Some((&packet[8..24], &packet[24..40])),
        _ => None,
    }
}

/// Return the length that an IP packet says it has; [`addresses`] found some.
pub fn stated_length(packet: &[u8]) -> usize {
    if version(packet) == 4 {
        word(packet, 2).into()
    } else {
        IPV6_HEADER_LENGTH + usize::from(word(packet, 4))
    }
}

/// Return the identifier of an echo reply over IPv4 (RFC 792).
pub fn echo_reply_identifier(packet: &[u8]) -> Option<u16> {
    let is_reply = packet.len() >= IPV4_HEADER_LENGTH + 8
        && packet[0] == 0x45
        && packet[9] == ICMP
        && packet[20] == 0
        && folded(word_sum(&packet[20..])) == 0xffff;
    is_reply.then(|| word(packet, 24))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Random;

    #[test]
    fn sums_are_those_of_rfc_1071() {
        let data = [0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7];
        assert_eq!(folded(word_sum(&data)), 0xddf2);
        assert_eq!(folded(word_sum(&[])), 0);
        assert_eq!(folded(word_sum(&[0x12])), 0x1200);
    }

    #[test]
    fn long_sums_are_those_of_short_steps() {
        let mut random = Random::new(1);
        for length in 0..200 {
            let data = random.bytes(length);
            let slow: u64 = data
                .chunks(2)
                .map(|pair| u64::from(pair[0]) << 8 | u64::from(*pair.get(1).unwrap_or(&0)))
                .sum();
            assert_eq!(folded(word_sum(&data)), folded(slow), "{length}");
        }
        assert_eq!(folded(word_sum(&[0xff; 65536])), 0xffff);
    }

    #[test]
    fn only_valid_echo_replies_have_an_identifier() {
        let mut reply = vec![0x45; 1];
        reply.resize(28, 0);
        reply[9] = ICMP;
        put_word(&mut reply, 24, 7);
        let sum = checksum(word_sum(&reply[20..]));
        put_word(&mut reply, 22, sum);
        assert_eq!(echo_reply_identifier(&reply), Some(7));
        assert_eq!(echo_reply_identifier(&reply[..27]), None);
        reply[20] = 8;
        assert_eq!(echo_reply_identifier(&reply), None);
    }
}
