//! A descriptor that becomes readable when somebody rings.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};

use super::checked;

/// An eventfd.
pub struct Event(File);

impl Event {
    pub fn new() -> io::Result<Self> {
        // SAFETY: the call has no pointers, and its descriptor is nobody else's.
        let descriptor = unsafe {
            let flags = libc::EFD_CLOEXEC | libc::EFD_NONBLOCK;
            OwnedFd::from_raw_fd(checked(libc::eventfd(0, flags))?)
        };
        Ok(Event(File::from(descriptor)))
    }

    /// Make it readable. If it has been rung too often already, it is readable.
    pub fn ring(&self) {
        let _ = (&self.0).write(&1u64.to_ne_bytes());
    }

    /// Make it unreadable until it is rung again.
    pub fn clear(&self) {
        let _ = (&self.0).read(&mut [0; 8]);
    }

    pub fn descriptor(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}
