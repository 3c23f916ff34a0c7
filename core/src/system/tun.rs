//! The TUN device: reads and writes of one packet or superpacket each.

use std::fs::File;
use std::io::{self, IoSlice, Read, Write};
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd, RawFd};

use super::checked;
use crate::coalesce::Offloads;
use crate::vnet;

/// Bytes of the longest read.
pub const READ_SIZE: usize = 65535 + vnet::LENGTH;

const TUNSETOFFLOAD: libc::c_ulong = 0x4004_54d0;
const TUN_F_CSUM: libc::c_ulong = 0x01;
const TUN_F_TSO4: libc::c_ulong = 0x02;
const TUN_F_TSO6: libc::c_ulong = 0x04;
const TUN_F_USO4: libc::c_ulong = 0x20;
const TUN_F_USO6: libc::c_ulong = 0x40;

/// A TUN device that another object opened, and closes as well.
pub struct Tun {
    file: File,
    pub offloads: Offloads,
}

impl Tun {
    /// Use a device, which does not block.
    pub fn new(device: BorrowedFd<'_>, has_header: bool) -> io::Result<Self> {
        let file = File::from(device.try_clone_to_owned()?);
        let mut tun = Tun {
            file,
            offloads: Offloads {
                has_header,
                ..Offloads::NONE
            },
        };
        if has_header {
            tun.negotiate();
        }
        Ok(tun)
    }

    pub fn descriptor(&self) -> RawFd {
        self.file.as_raw_fd()
    }

    /// Read a packet, with its virtio-net header if it has one.
    pub fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        (&self.file).read(buffer)
    }

    /// Write a packet in parts.
    pub fn write(&self, parts: &[IoSlice]) -> io::Result<usize> {
        (&self.file).write_vectored(parts)
    }

    /// Have the kernel cut superpackets itself again.
    pub fn give_back(&self) {
        if self.offloads.has_header {
            let _ = self.set_offloads(0);
        }
    }

    /// Ask for the best superpackets that the kernel knows.
    fn negotiate(&mut self) {
        let tcp = TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6;
        let udp = TUN_F_USO4 | TUN_F_USO6;
        self.offloads.udp = self.set_offloads(tcp | udp).is_ok();
        self.offloads.tcp = self.offloads.udp || self.set_offloads(tcp).is_ok();
    }

    fn set_offloads(&self, offloads: libc::c_ulong) -> io::Result<()> {
        // SAFETY: this call has a number and no pointers.
        let result = unsafe {
            libc::ioctl(
                self.file.as_raw_fd(),
                TUNSETOFFLOAD as libc::Ioctl,
                offloads,
            )
        };
        checked(result).map(|_| ())
    }
}

/// Return whether an error says that the interface was removed.
pub fn is_gone(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(libc::EBADFD | libc::EBADF | libc::ENODEV | libc::ENXIO)
    )
}

/// Borrow a descriptor that stays open for the time of a call.
pub fn borrowed<'a>(descriptor: RawFd) -> io::Result<BorrowedFd<'a>> {
    if descriptor < 0 {
        return Err(io::Error::from_raw_os_error(libc::EBADF));
    }
    // SAFETY: whoever passes a descriptor to the data path keeps it open meanwhile.
    Ok(unsafe { BorrowedFd::borrow_raw(descriptor) })
}

/// Return another descriptor for what a descriptor stands for.
pub fn duplicate(descriptor: RawFd) -> io::Result<OwnedFd> {
    borrowed(descriptor)?.try_clone_to_owned()
}
