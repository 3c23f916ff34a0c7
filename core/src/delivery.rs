//! Sending datagrams together, and what is done where the system refuses that.
//!
//! Nothing that the network does is an error: a datagram that cannot be sent is lost, as
//! if that had happened on its way.

use std::io;

use crate::endpoint::Source;

/// What the sender of datagrams is told of their way out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Problem {
    /// The source is no address of this host any more.
    Unpinned,
    /// The socket never takes several datagrams by one call.
    NeverTogether,
    /// So many datagrams were lost by an error of that number.
    Lost(i32, usize),
}

/// What has become of datagrams.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Delivered {
    pub problems: Vec<Problem>,
    /// How many bytes were sent, if the socket blocks before the rest.
    pub blocked_at: Option<usize>,
}

/// Send datagrams of that length, the last perhaps shorter.
///
/// :param source: where they leave from; left out if it is gone.
/// :param together: whether one call may take several.
/// :param send: makes a call.
pub fn deliver(
    datagrams: &[u8],
    stride: usize,
    mut source: Option<Source>,
    mut together: bool,
    mut send: impl FnMut(&[u8], Option<Source>) -> io::Result<()>,
) -> Delivered {
    let mut delivered = Delivered::default();
    let mut sent = 0;
    while sent < datagrams.len() {
        let rest = &datagrams[sent..];
        let alone = stride.min(rest.len());
        let length = if together { rest.len() } else { alone };
        let Err(error) = send(&rest[..length], source) else {
            sent += length;
            continue;
        };
        if error.kind() == io::ErrorKind::WouldBlock {
            delivered.blocked_at = Some(sent);
            return delivered;
        }
        let number = error.raw_os_error().unwrap_or(0);
        if source.is_some() && source_is_gone(number) {
            source = None;
            delivered.problems.push(Problem::Unpinned);
        } else if length > stride && cannot_segment(number) {
            together = false;
            if number == libc::EIO {
                delivered.problems.push(Problem::NeverTogether);
            }
        } else {
            let lost = Problem::Lost(number, length.div_ceil(stride));
            delivered.problems.push(lost);
            sent += length;
        }
    }
    delivered
}

/// A pinned source was removed: IPv4 gives the first, IPv6 the second; the last, if its
/// interface went too.
fn source_is_gone(error: i32) -> bool {
    matches!(
        error,
        libc::ENETUNREACH | libc::EINVAL | libc::EADDRNOTAVAIL | libc::ENODEV
    )
}

/// EIO: never on this socket. The others: not these datagrams, on their route.
fn cannot_segment(error: i32) -> bool {
    matches!(error, libc::EIO | libc::EINVAL | libc::EMSGSIZE)
}

#[cfg(test)]
mod tests {
    use super::Problem::{Lost, NeverTogether, Unpinned};
    use super::*;

    const DATAGRAMS: [u8; 250] = [7; 250];
    const STRIDE: usize = 100;
    const OURS: Source = Source {
        host: std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST),
        interface: 1,
    };

    /// Lengths that were asked for, each with whether it was pinned; and what came of it.
    type Outcome = (Vec<(usize, bool)>, Delivered);

    /// Send with a system that answers like that, and has no errors afterwards.
    fn run(source: Option<Source>, together: bool, answers: &[i32]) -> Outcome {
        let mut answers = answers.iter();
        let mut calls = Vec::new();
        let delivered = deliver(&DATAGRAMS, STRIDE, source, together, |part, from| {
            calls.push((part.len(), from.is_some()));
            match answers.next() {
                None | Some(0) => Ok(()),
                Some(&error) => Err(io::Error::from_raw_os_error(error)),
            }
        });
        (calls, delivered)
    }

    fn lengths(calls: &[(usize, bool)]) -> Vec<usize> {
        calls.iter().map(|&(length, _)| length).collect()
    }

    #[test]
    fn one_call_takes_all_where_the_system_can() {
        let (calls, delivered) = run(Some(OURS), true, &[]);
        assert_eq!(calls, [(250, true)]);
        assert_eq!(delivered, Delivered::default());
    }

    #[test]
    fn each_goes_alone_where_it_cannot() {
        let (calls, delivered) = run(None, false, &[]);
        assert_eq!(lengths(&calls), [100, 100, 50]);
        assert_eq!(delivered, Delivered::default());
    }

    #[test]
    fn eio_turns_segmentation_off_for_good() {
        let (calls, delivered) = run(None, true, &[libc::EIO]);
        assert_eq!(lengths(&calls), [250, 100, 100, 50]);
        assert_eq!(delivered.problems, [NeverTogether]);
    }

    #[test]
    fn what_cannot_be_segmented_here_goes_one_by_one_this_time() {
        for error in [libc::EINVAL, libc::EMSGSIZE] {
            let (calls, delivered) = run(None, true, &[error]);
            assert_eq!(lengths(&calls), [250, 100, 100, 50]);
            assert_eq!(delivered.problems, []);
        }
    }

    #[test]
    fn eio_of_a_single_datagram_is_a_loss() {
        let (calls, delivered) = run(None, false, &[0, libc::EIO]);
        assert_eq!(lengths(&calls), [100, 100, 50]);
        assert_eq!(delivered.problems, [Lost(libc::EIO, 1)]);
    }

    #[test]
    fn a_source_that_has_gone_is_left_out_and_told_of_once() {
        for error in [
            libc::ENETUNREACH,
            libc::EINVAL,
            libc::EADDRNOTAVAIL,
            libc::ENODEV,
        ] {
            let (calls, delivered) = run(Some(OURS), true, &[error]);
            assert_eq!(calls, [(250, true), (250, false)]);
            assert_eq!(delivered.problems, [Unpinned]);
        }
    }

    #[test]
    fn without_its_source_it_may_fail_as_well() {
        let errors = [libc::EINVAL, libc::EINVAL, 0, libc::ENETUNREACH];
        let (calls, delivered) = run(Some(OURS), true, &errors);
        assert_eq!(lengths(&calls), [250, 250, 100, 100, 50]);
        assert_eq!(delivered.problems, [Unpinned, Lost(libc::ENETUNREACH, 1)]);
    }

    #[test]
    fn other_errors_are_losses_and_the_rest_goes_on() {
        let (_, delivered) = run(None, true, &[libc::ENETUNREACH]);
        assert_eq!(delivered.problems, [Lost(libc::ENETUNREACH, 3)]);
        let (calls, delivered) = run(None, false, &[libc::EPERM]);
        assert_eq!(lengths(&calls), [100, 100, 50]);
        assert_eq!(delivered.problems, [Lost(libc::EPERM, 1)]);
    }

    #[test]
    fn a_socket_that_blocks_keeps_the_rest() {
        let (calls, delivered) = run(None, false, &[0, libc::EAGAIN]);
        assert_eq!(lengths(&calls), [100, 100]);
        assert_eq!(delivered.blocked_at, Some(100));
    }
}
