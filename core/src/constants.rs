//! The numbers of the protocol that the data path needs (WireGuard paper, section 6.1).

/// A keypair is not used beyond this many messages.
pub const REJECT_AFTER_MESSAGES: u64 = u64::MAX - (1 << 13);
/// A keypair older than this many messages is renewed.
pub const REKEY_AFTER_MESSAGES: u64 = 1 << 60;
/// How far behind the newest counter a late message may be.
pub const REPLAY_WINDOW: u64 = 8128;
/// Packets are padded to a multiple of this many bytes.
pub const PADDING_MULTIPLE: usize = 16;
/// The type of data messages, with the reserved bytes.
pub const MESSAGE_DATA: u32 = 4;
/// Type, receiver index and counter, in bytes.
pub const DATA_HEADER_LENGTH: usize = 16;
/// Bytes of the tag that authenticates a message.
pub const TAG_LENGTH: usize = 16;
/// Bytes that a data message is longer than its (padded) packet.
pub const DATA_OVERHEAD: usize = DATA_HEADER_LENGTH + TAG_LENGTH;
/// Bytes of the longest IP packet.
pub const MAX_PACKET: usize = 65535;
