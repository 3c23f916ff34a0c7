//! TURN's ChannelData (RFC 8656 section 12.4).

/// Channel number and length of the payload.
pub const HEADER_LENGTH: usize = 4;
const FIRST: u16 = 0x4000;
/// RFC 5766 section 11, which some servers still follow.
const LAST_OLD: u16 = 0x7fff;

/// Return the channel number of a message and the length of its payload.
///
/// `None` stands for what is not ChannelData, or is shorter than it says.
pub fn parse(message: &[u8]) -> Option<(u16, usize)> {
    let header = message.get(..HEADER_LENGTH)?;
    let number = u16::from_be_bytes([header[0], header[1]]);
    let length = usize::from(u16::from_be_bytes([header[2], header[3]]));
    let is_whole = message.len() >= HEADER_LENGTH + length;
    ((FIRST..=LAST_OLD).contains(&number) && is_whole).then_some((number, length))
}

/// Write the header of a message before its payload.
pub fn write_header(message: &mut [u8], number: u16) {
    let length = (message.len() - HEADER_LENGTH) as u16;
    message[..2].copy_from_slice(&number.to_be_bytes());
    message[2..HEADER_LENGTH].copy_from_slice(&length.to_be_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrapped_is_unwrapped() {
        let mut message = *b"....payload";
        write_header(&mut message, 0x4001);
        assert_eq!(parse(&message), Some((0x4001, 7)));
        assert_eq!(parse(&message[..10]), None);
    }

    #[test]
    fn other_numbers_are_not_channels() {
        for start in [[0x3f, 0xff, 0, 0], [0x80, 0, 0, 0], [0, 1, 0, 0]] {
            assert_eq!(parse(&start), None);
        }
        assert_eq!(parse(&[0x40, 0, 0]), None);
    }
}
