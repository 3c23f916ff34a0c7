//! What is asked of the system: the only place for unsafe code.
//!
//! Each function here makes one system call, or fills the structures of one. None of
//! them looks at what packets hold.

pub mod event;
pub mod poll;
pub mod tun;
pub mod udp;

use std::ffi::CString;
use std::io;

/// Return the result of a system call, or the error that it has set.
fn checked(result: libc::c_int) -> io::Result<libc::c_int> {
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(result)
    }
}

/// Return the length that a system call returned, or the error that it has set.
fn checked_length(result: libc::ssize_t) -> io::Result<usize> {
    usize::try_from(result).map_err(|_| io::Error::last_os_error())
}

/// Return the number of an interface, 0 if there is none of that name.
pub fn interface_index(name: &str) -> u32 {
    let Ok(name) = CString::new(name) else {
        return 0;
    };
    // SAFETY: the name ends with a zero, and outlives the call.
    unsafe { libc::if_nametoindex(name.as_ptr()) }
}

/// Return the seconds since boot, those asleep included: the clock of every `now`.
pub fn now() -> f64 {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: the structure is ours, and the clock exists on every Linux.
    unsafe { libc::clock_gettime(libc::CLOCK_BOOTTIME, &mut time) };
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}
