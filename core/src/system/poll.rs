//! Waiting for descriptors (epoll).

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};

use super::checked;

/// What is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Interest {
    pub readable: bool,
    pub writable: bool,
}

/// What happened to the descriptor of a token.
#[derive(Clone, Copy, Debug)]
pub struct Happening {
    pub token: u64,
    pub readable: bool,
    pub writable: bool,
}

/// Descriptors that are waited for together, each with a token.
pub struct Poll(OwnedFd);

/// Happenings that one wait returns at most.
const MOST: usize = 64;

impl Poll {
    pub fn new() -> io::Result<Self> {
        // SAFETY: the call has no pointers, and its descriptor is nobody else's.
        let descriptor =
            unsafe { OwnedFd::from_raw_fd(checked(libc::epoll_create1(libc::EPOLL_CLOEXEC))?) };
        Ok(Poll(descriptor))
    }

    pub fn add(&self, descriptor: RawFd, token: u64, interest: Interest) -> io::Result<()> {
        self.control(libc::EPOLL_CTL_ADD, descriptor, token, interest)
    }

    pub fn change(&self, descriptor: RawFd, token: u64, interest: Interest) -> io::Result<()> {
        self.control(libc::EPOLL_CTL_MOD, descriptor, token, interest)
    }

    pub fn remove(&self, descriptor: RawFd) -> io::Result<()> {
        let nothing = Interest {
            readable: false,
            writable: false,
        };
        self.control(libc::EPOLL_CTL_DEL, descriptor, 0, nothing)
    }

    /// Wait, for as many milliseconds at most, or for ever with -1.
    pub fn wait(&self, milliseconds: i32, happenings: &mut Vec<Happening>) -> io::Result<()> {
        happenings.clear();
        let mut events = [libc::epoll_event { events: 0, u64: 0 }; MOST];
        // SAFETY: there is room for as many events as are asked for.
        let result = unsafe {
            libc::epoll_wait(
                self.0.as_raw_fd(),
                events.as_mut_ptr(),
                MOST as libc::c_int,
                milliseconds,
            )
        };
        let count = match checked(result) {
            Ok(count) => count as usize,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => 0,
            Err(error) => return Err(error),
        };
        happenings.extend(events[..count].iter().map(|event| {
            let is = |flags: libc::c_int| event.events & flags as u32 != 0;
            let is_broken = is(libc::EPOLLERR | libc::EPOLLHUP);
            Happening {
                token: event.u64,
                // Whoever reads or writes then meets the error, and deals with it.
                readable: is(libc::EPOLLIN) || is_broken,
                writable: is(libc::EPOLLOUT) || is_broken,
            }
        }));
        Ok(())
    }

    fn control(
        &self,
        operation: libc::c_int,
        descriptor: RawFd,
        token: u64,
        interest: Interest,
    ) -> io::Result<()> {
        let mut events = 0;
        if interest.readable {
            events |= libc::EPOLLIN;
        }
        if interest.writable {
            events |= libc::EPOLLOUT;
        }
        let mut event = libc::epoll_event {
            events: events as u32,
            u64: token,
        };
        // SAFETY: the event outlives the call.
        let result =
            unsafe { libc::epoll_ctl(self.0.as_raw_fd(), operation, descriptor, &mut event) };
        checked(result).map(|_| ())
    }
}
