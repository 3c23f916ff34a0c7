//! A descriptor that becomes readable when somebody rings.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::sync::atomic::{
    AtomicBool,
    Ordering::{AcqRel, Release},
};

use super::checked;

/// An eventfd.
pub struct Event {
    file: File,
    /// Whether it has been rung since it was cleared.
    is_rung: AtomicBool,
}

impl Event {
    pub fn new() -> io::Result<Self> {
        // SAFETY: the call has no pointers, and its descriptor is nobody else's.
        let descriptor = unsafe {
            let flags = libc::EFD_CLOEXEC | libc::EFD_NONBLOCK;
            OwnedFd::from_raw_fd(checked(libc::eventfd(0, flags))?)
        };
        Ok(Event {
            file: File::from(descriptor),
            is_rung: AtomicBool::new(false),
        })
    }

    /// Make it readable. Only the first ring is a system call.
    pub fn ring(&self) {
        if !self.is_rung.swap(true, AcqRel) {
            let _ = (&self.file).write(&1u64.to_ne_bytes());
        }
    }

    /// Make it unreadable until it is rung again.
    ///
    /// Whoever clears it looks afterwards at what it was rung for.
    pub fn clear(&self) {
        let _ = (&self.file).read(&mut [0; 8]);
        // After the read, so that no ring can be taken back by it.
        self.is_rung.store(false, Release);
    }

    pub fn descriptor(&self) -> RawFd {
        self.file.as_raw_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::system::poll::{Interest, Poll};

    fn is_readable(event: &Event) -> bool {
        let poll = Poll::new().unwrap();
        let readable = Interest {
            readable: true,
            writable: false,
        };
        poll.add(event.descriptor(), 1, readable).unwrap();
        let mut happenings = Vec::new();
        poll.wait(0, &mut happenings).unwrap();
        !happenings.is_empty()
    }

    #[test]
    fn it_is_readable_from_a_ring_until_it_is_cleared() {
        let event = Event::new().unwrap();
        assert!(!is_readable(&event));
        for _ in 0..3 {
            event.ring();
            event.ring();
            assert!(is_readable(&event));
            event.clear();
            assert!(!is_readable(&event));
        }
    }
}
