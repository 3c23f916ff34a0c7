//! The virtio-net header before every packet of a TUN device with IFF_VNET_HDR.

pub const LENGTH: usize = 10;
pub const NEEDS_CSUM: u8 = 1;
pub const GSO_NONE: u8 = 0;
pub const GSO_TCPV4: u8 = 1;
pub const GSO_TCPV6: u8 = 4;
pub const GSO_UDP_L4: u8 = 5;
/// May be added to the TCP types: only the first segment carries CWR.
pub const GSO_ECN: u8 = 0x80;

/// The fields of struct virtio_net_hdr, in the byte order of the machine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Header {
    pub flags: u8,
    pub gso_type: u8,
    /// A hint that some kernels get wrong.
    pub header_length: u16,
    pub gso_size: u16,
    pub checksum_start: u16,
    pub checksum_offset: u16,
}

impl Header {
    /// Read the header that something begins with.
    pub fn parse(data: &[u8]) -> Option<(Header, &[u8])> {
        let (header, rest) = data.split_at_checked(LENGTH)?;
        let field = |at: usize| u16::from_ne_bytes([header[at], header[at + 1]]);
        let header = Header {
            flags: header[0],
            gso_type: header[1],
            header_length: field(2),
            gso_size: field(4),
            checksum_start: field(6),
            checksum_offset: field(8),
        };
        Some((header, rest))
    }

    pub fn to_bytes(self) -> [u8; LENGTH] {
        let mut bytes = [self.flags, self.gso_type, 0, 0, 0, 0, 0, 0, 0, 0];
        bytes[2..4].copy_from_slice(&self.header_length.to_ne_bytes());
        bytes[4..6].copy_from_slice(&self.gso_size.to_ne_bytes());
        bytes[6..8].copy_from_slice(&self.checksum_start.to_ne_bytes());
        bytes[8..].copy_from_slice(&self.checksum_offset.to_ne_bytes());
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_survive() {
        let header = Header {
            flags: 1,
            gso_type: 2,
            header_length: 3,
            gso_size: 4,
            checksum_start: 5,
            checksum_offset: 6,
        };
        assert_eq!(Header::parse(&header.to_bytes()), Some((header, &[][..])));
        assert_eq!(Header::parse(&[0; 9]), None);
    }
}
