//! UDP sockets that carry batches: segmentation offloads and sticky source addresses.

use std::io;
use std::mem::{size_of, zeroed};
use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::time::{Duration, UNIX_EPOCH};

use super::{checked, checked_length};
use crate::endpoint::{Endpoint, Source};

const UDP_SEGMENT: libc::c_int = 103;
const UDP_GRO: libc::c_int = 104;
const SIOCGSTAMPNS: libc::c_ulong = 0x8907;
/// Bytes of control messages: there is room for PKTINFO and for the offloads.
const CONTROL_SIZE: usize = 128;

/// A UDP socket that another object opened, and closes as well.
pub struct UdpSocket {
    descriptor: OwnedFd,
    pub link: i64,
    pub is_ipv4: bool,
}

/// What one call has received.
#[derive(Clone, Copy, Debug)]
pub struct Received {
    pub length: usize,
    /// Bytes of each datagram but the last.
    pub stride: usize,
    pub from: Endpoint,
}

#[repr(C, align(8))]
struct Control([u8; CONTROL_SIZE]);

impl UdpSocket {
    /// Use a socket, which does not block.
    pub fn new(descriptor: OwnedFd, link: i64, is_ipv4: bool) -> Self {
        UdpSocket {
            descriptor,
            link,
            is_ipv4,
        }
    }

    pub fn descriptor(&self) -> RawFd {
        self.descriptor.as_raw_fd()
    }

    /// Return whether the kernel knows UDP_SEGMENT.
    pub fn can_segment(&self) -> bool {
        let mut value: libc::c_int = 0;
        let mut length = size_of::<libc::c_int>() as libc::socklen_t;
        // SAFETY: the value has the length that is said.
        let result = unsafe {
            libc::getsockopt(
                self.descriptor(),
                libc::SOL_UDP,
                UDP_SEGMENT,
                (&raw mut value).cast(),
                &mut length,
            )
        };
        checked(result).is_ok()
    }

    /// Return for how many seconds the last datagram had waited that was received.
    ///
    /// From the first call on, the kernel notes when datagrams arrive: until then it is 0.
    pub fn last_waited(&self) -> f64 {
        let mut arrived = libc::timespec {
            tv_sec: 0,
            tv_nsec: 0,
        };
        // SAFETY: the kernel fills a structure of this kind, which outlives the call.
        let result = unsafe {
            libc::ioctl(
                self.descriptor(),
                SIOCGSTAMPNS as libc::Ioctl,
                &raw mut arrived,
            )
        };
        if checked(result).is_err() {
            return 0.0;
        }
        let arrived = Duration::new(arrived.tv_sec as u64, arrived.tv_nsec as u32);
        let waited = (UNIX_EPOCH + arrived).elapsed();
        waited.map_or(0.0, |waited| waited.as_secs_f64())
    }

    /// Receive datagrams of one source, which arrived together.
    pub fn receive(&self, buffer: &mut [u8]) -> io::Result<Received> {
        // SAFETY: all of these may be zero.
        let mut name: libc::sockaddr_storage = unsafe { zeroed() };
        let mut control = Control([0; CONTROL_SIZE]);
        let mut part = libc::iovec {
            iov_base: buffer.as_mut_ptr().cast(),
            iov_len: buffer.len(),
        };
        // SAFETY: as above.
        let mut message: libc::msghdr = unsafe { zeroed() };
        message.msg_name = (&raw mut name).cast();
        message.msg_namelen = size_of::<libc::sockaddr_storage>() as libc::socklen_t;
        message.msg_iov = &mut part;
        message.msg_iovlen = 1;
        message.msg_control = control.0.as_mut_ptr().cast();
        message.msg_controllen = CONTROL_SIZE as _;
        // SAFETY: everything that the message points to outlives the call.
        let length = checked_length(unsafe { libc::recvmsg(self.descriptor(), &mut message, 0) })?;
        let (source, stride) = read_control(&message);
        let (host, port, zone) = read_name(&name)?;
        Ok(Received {
            length,
            stride: stride.filter(|&stride| stride > 0).unwrap_or(length.max(1)),
            from: Endpoint {
                host,
                port,
                zone,
                link: self.link,
                source,
            },
        })
    }

    /// Send datagrams of that length, the last perhaps shorter, by one call.
    pub fn send(
        &self,
        datagrams: &[u8],
        stride: usize,
        to: &Endpoint,
        source: Option<Source>,
    ) -> io::Result<()> {
        let (name, name_length) = write_name(to);
        let mut control = Control([0; CONTROL_SIZE]);
        let mut part = libc::iovec {
            iov_base: datagrams.as_ptr().cast_mut().cast(),
            iov_len: datagrams.len(),
        };
        // SAFETY: all of it may be zero.
        let mut message: libc::msghdr = unsafe { zeroed() };
        message.msg_name = (&raw const name).cast_mut().cast();
        message.msg_namelen = name_length;
        message.msg_iov = &mut part;
        message.msg_iovlen = 1;
        let segment = (datagrams.len() > stride).then_some(stride as u16);
        let length = write_control(&mut control, segment, source);
        if length > 0 {
            message.msg_control = control.0.as_mut_ptr().cast();
            message.msg_controllen = length as _;
        }
        // SAFETY: everything that the message points to outlives the call.
        let result = unsafe { libc::sendmsg(self.descriptor(), &message, 0) };
        checked_length(result).map(|_| ())
    }
}

/// Return the local end and the stride that control messages tell of.
fn read_control(message: &libc::msghdr) -> (Option<Source>, Option<usize>) {
    let (mut source, mut stride) = (None, None);
    // SAFETY: the kernel has filled the control messages, whose data may be unaligned.
    unsafe {
        let mut header = libc::CMSG_FIRSTHDR(message);
        while !header.is_null() {
            let data = libc::CMSG_DATA(header);
            match ((*header).cmsg_level, (*header).cmsg_type) {
                (libc::SOL_UDP, UDP_GRO) => {
                    let value = data.cast::<libc::c_int>().read_unaligned();
                    stride = usize::try_from(value).ok();
                }
                (libc::IPPROTO_IP, libc::IP_PKTINFO) => {
                    let info = data.cast::<libc::in_pktinfo>().read_unaligned();
                    source = Some(Source {
                        host: IpAddr::from(info.ipi_spec_dst.s_addr.to_ne_bytes()),
                        interface: info.ipi_ifindex as u32,
                    });
                }
                (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO) => {
                    let info = data.cast::<libc::in6_pktinfo>().read_unaligned();
                    source = Some(Source {
                        host: IpAddr::from(info.ipi6_addr.s6_addr),
                        interface: info.ipi6_ifindex as u32,
                    });
                }
                _ => (),
            }
            header = libc::CMSG_NXTHDR(message, header);
        }
    }
    (source, stride)
}

/// Write control messages, and return the length of all of them.
fn write_control(control: &mut Control, segment: Option<u16>, source: Option<Source>) -> usize {
    let mut length = 0;
    if let Some(stride) = segment {
        length += write_one(control, length, libc::SOL_UDP, UDP_SEGMENT, stride);
    }
    match source.map(|source| (source.host, source.interface)) {
        Some((IpAddr::V4(host), interface)) => {
            let info = libc::in_pktinfo {
                ipi_ifindex: interface as libc::c_int,
                ipi_spec_dst: ipv4(host),
                ipi_addr: libc::in_addr { s_addr: 0 },
            };
            length += write_one(control, length, libc::IPPROTO_IP, libc::IP_PKTINFO, info);
        }
        Some((IpAddr::V6(host), interface)) => {
            let info = libc::in6_pktinfo {
                ipi6_addr: libc::in6_addr {
                    s6_addr: host.octets(),
                },
                ipi6_ifindex: interface as _,
            };
            length += write_one(
                control,
                length,
                libc::IPPROTO_IPV6,
                libc::IPV6_PKTINFO,
                info,
            );
        }
        None => (),
    }
    length
}

/// Write one control message there, and return how long it is.
fn write_one<T>(
    control: &mut Control,
    offset: usize,
    level: libc::c_int,
    kind: libc::c_int,
    value: T,
) -> usize {
    // SAFETY: these only compute, and there is room for all that is written.
    unsafe {
        let space = libc::CMSG_SPACE(size_of::<T>() as u32) as usize;
        assert!(offset + space <= CONTROL_SIZE, "control messages have room");
        let header = control.0.as_mut_ptr().add(offset).cast::<libc::cmsghdr>();
        (*header).cmsg_level = level;
        (*header).cmsg_type = kind;
        (*header).cmsg_len = libc::CMSG_LEN(size_of::<T>() as u32) as _;
        libc::CMSG_DATA(header).cast::<T>().write_unaligned(value);
        space
    }
}

fn read_name(name: &libc::sockaddr_storage) -> io::Result<(IpAddr, u16, u32)> {
    let pointer: *const libc::sockaddr_storage = name;
    match libc::c_int::from(name.ss_family) {
        libc::AF_INET => {
            // SAFETY: the family says that it is one of these, which is shorter.
            let name = unsafe { &*pointer.cast::<libc::sockaddr_in>() };
            let host = IpAddr::from(name.sin_addr.s_addr.to_ne_bytes());
            Ok((host, u16::from_be(name.sin_port), 0))
        }
        libc::AF_INET6 => {
            // SAFETY: as above.
            let name = unsafe { &*pointer.cast::<libc::sockaddr_in6>() };
            let host = IpAddr::from(name.sin6_addr.s6_addr);
            Ok((host, u16::from_be(name.sin6_port), name.sin6_scope_id))
        }
        _ => Err(io::Error::from_raw_os_error(libc::EAFNOSUPPORT)),
    }
}

fn write_name(to: &Endpoint) -> (libc::sockaddr_storage, libc::socklen_t) {
    // SAFETY: all of it may be zero.
    let mut storage: libc::sockaddr_storage = unsafe { zeroed() };
    let pointer = &raw mut storage;
    let length = match to.host {
        IpAddr::V4(host) => {
            let name = libc::sockaddr_in {
                sin_family: libc::AF_INET as libc::sa_family_t,
                sin_port: to.port.to_be(),
                sin_addr: ipv4(host),
                sin_zero: [0; 8],
            };
            // SAFETY: the storage has room for any address, and is aligned for it.
            unsafe { pointer.cast::<libc::sockaddr_in>().write(name) };
            size_of::<libc::sockaddr_in>()
        }
        IpAddr::V6(host) => {
            // SAFETY: as above.
            unsafe {
                let name = pointer.cast::<libc::sockaddr_in6>();
                (*name).sin6_family = libc::AF_INET6 as libc::sa_family_t;
                (*name).sin6_port = to.port.to_be();
                (*name).sin6_addr.s6_addr = host.octets();
                (*name).sin6_scope_id = to.zone;
            }
            size_of::<libc::sockaddr_in6>()
        }
    };
    (storage, length as libc::socklen_t)
}

fn ipv4(host: Ipv4Addr) -> libc::in_addr {
    libc::in_addr {
        s_addr: u32::from_ne_bytes(host.octets()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::UdpSocket as StdSocket;
    use std::os::fd::OwnedFd;

    fn loopback(address: &str) -> (UdpSocket, Endpoint) {
        let socket = StdSocket::bind((address, 0)).unwrap();
        let port = socket.local_addr().unwrap().port();
        let is_ipv4 = !address.contains(':');
        let endpoint = Endpoint::parse(address, port, 0, None).unwrap();
        (UdpSocket::new(OwnedFd::from(socket), 0, is_ipv4), endpoint)
    }

    #[test]
    fn batches_are_cut_by_the_kernel() {
        let (near, near_end) = loopback("127.0.0.1");
        let (far, far_end) = loopback("127.0.0.1");
        let batch: Vec<u8> = (0..250).map(|byte| byte as u8).collect();
        near.send(&batch, 100, &far_end, None).unwrap();
        let mut buffer = [0; 65536];
        let mut lengths = Vec::new();
        while lengths.iter().sum::<usize>() < 250 {
            let received = far.receive(&mut buffer).unwrap();
            assert_eq!(received.from.port, near_end.port);
            assert_eq!(received.from.host, near_end.host);
            lengths.push(received.length);
        }
        assert_eq!(lengths, [100, 100, 50]);
    }

    #[test]
    fn a_datagram_tells_how_long_it_has_waited() {
        let (near, _) = loopback("127.0.0.1");
        let (far, far_end) = loopback("127.0.0.1");
        let mut buffer = [0; 65536];
        assert_eq!(far.last_waited(), 0.0);
        // The kernel begins to note times some moments after the first question.
        let knows = (0..100).any(|_| {
            near.send(b"x", 1, &far_end, None).unwrap();
            std::thread::sleep(Duration::from_millis(20));
            far.receive(&mut buffer).unwrap();
            far.last_waited() >= 0.019
        });
        assert!(knows);
    }

    #[test]
    fn an_address_that_is_not_the_hosts_is_an_error() {
        let (near, near_end) = loopback("127.0.0.1");
        let source = Source {
            host: "192.0.2.77".parse().unwrap(),
            interface: 0,
        };
        assert!(near.send(b"x", 1, &near_end, Some(source)).is_err());
        let own = Source {
            host: near_end.host,
            interface: 0,
        };
        near.send(b"x", 1, &near_end, Some(own)).unwrap();
    }
}
