//! Which thread serves the sockets: the first, or under load the second.
//!
//! Whoever is awake already answers fastest. So while packets come one by one, the first
//! thread does everything, and the answer to a packet that it has just written is read
//! without anybody being woken. Crowds in both directions would wait for each other
//! there; so under load the second thread has the sockets. Only who has them gives them
//! away, between its turns: nothing is ever received by two threads at the same time.

use std::io;
use std::os::fd::RawFd;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::pace::CALM;
use crate::sockets::{Socket, Sockets};
use crate::system::poll::{Interest, Poll};

const READABLE: Interest = Interest {
    readable: true,
    writable: false,
};

/// Which of two threads is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Reads the device, and while there is no load receives, too.
    First,
    /// Receives under load.
    Second,
}

/// What the threads wait for.
pub struct Duties {
    first: Arc<Poll>,
    /// `None` where there is one thread only.
    second: Option<Arc<Poll>>,
    /// Whether the second thread has the sockets.
    are_apart: Mutex<bool>,
    /// The bits of the time at which a crowd came, of whatever kind.
    crowded_at: AtomicU64,
    /// The same of a crowd that was carried: not of what is unknown.
    carried_at: AtomicU64,
}

impl Duties {
    pub fn new(threads: usize) -> io::Result<Self> {
        let second = (threads > 1).then(Poll::new).transpose()?;
        Ok(Duties {
            first: Arc::new(Poll::new()?),
            second: second.map(Arc::new),
            are_apart: Mutex::new(false),
            crowded_at: AtomicU64::new(f64::NEG_INFINITY.to_bits()),
            carried_at: AtomicU64::new(f64::NEG_INFINITY.to_bits()),
        })
    }

    /// Return the threads that there are, and what each of them waits with.
    pub fn threads(&self) -> Vec<(Role, Arc<Poll>)> {
        let second = self.second.clone().map(|poll| (Role::Second, poll));
        [(Role::First, self.first.clone())]
            .into_iter()
            .chain(second)
            .collect()
    }

    pub fn first(&self) -> &Poll {
        &self.first
    }

    /// Have a socket served by whoever has the others.
    pub fn add(&self, socket: &Socket) -> io::Result<()> {
        let are_apart = self.lock();
        self.poll(*are_apart)
            .add(socket.udp.descriptor(), socket.token, READABLE)
    }

    /// Have a socket served by nobody.
    pub fn remove(&self, descriptor: RawFd) {
        let _are_apart = self.lock();
        for (_, poll) in self.threads() {
            let _ = poll.remove(descriptor);
        }
    }

    /// Note a crowd, and whether it was carried.
    pub fn note_crowd(&self, is_carried: bool, now: f64) {
        self.crowded_at.store(now.to_bits(), Relaxed);
        if is_carried {
            self.carried_at.store(now.to_bits(), Relaxed);
        }
    }

    /// Return whether crowds came lately, of whatever kind.
    pub fn is_crowded(&self, now: f64) -> bool {
        now - f64::from_bits(self.crowded_at.load(Relaxed)) < CALM
    }

    /// Return whether crowds were carried lately.
    pub fn carries_crowds(&self, now: f64) -> bool {
        now - f64::from_bits(self.carried_at.load(Relaxed)) < CALM
    }

    pub fn are_apart(&self) -> bool {
        *self.lock()
    }

    /// Give all sockets to the second thread, if it is there; the first one calls this.
    pub fn part(&self, sockets: &Sockets) -> io::Result<()> {
        self.give(sockets, true)
    }

    /// Give all sockets back to the first thread; the second one calls this.
    pub fn join(&self, sockets: &Sockets) -> io::Result<()> {
        self.give(sockets, false)
    }

    fn give(&self, sockets: &Sockets, to_second: bool) -> io::Result<()> {
        let mut are_apart = self.lock();
        if *are_apart == to_second || self.second.is_none() {
            return Ok(());
        }
        let (from, to) = (self.poll(*are_apart), self.poll(to_second));
        for socket in sockets.all() {
            // One that is being removed may be in neither.
            if from.remove(socket.udp.descriptor()).is_ok() {
                to.add(socket.udp.descriptor(), socket.token, READABLE)?;
            }
        }
        *are_apart = to_second;
        Ok(())
    }

    fn poll(&self, are_apart: bool) -> &Poll {
        match &self.second {
            Some(second) if are_apart => second,
            _ => &self.first,
        }
    }

    fn lock(&self) -> MutexGuard<'_, bool> {
        self.are_apart
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::system::poll::Happening;
    use std::net::UdpSocket as StdSocket;
    use std::os::fd::AsRawFd;

    /// Return which threads see that a socket is readable.
    fn seers(duties: &Duties) -> Vec<Role> {
        let mut happenings: Vec<Happening> = Vec::new();
        let mut seers = Vec::new();
        for (role, poll) in duties.threads() {
            poll.wait(0, &mut happenings).unwrap();
            seers.extend(happenings.iter().map(|_| role));
        }
        seers
    }

    fn readable() -> (Sockets, Arc<Socket>, StdSocket) {
        let near = StdSocket::bind(("127.0.0.1", 0)).unwrap();
        let far = StdSocket::bind(("127.0.0.1", 0)).unwrap();
        far.send_to(b"x", near.local_addr().unwrap()).unwrap();
        let sockets = Sockets::default();
        let socket = sockets.add(7, near.as_raw_fd(), 0, true).unwrap();
        (sockets, socket, near)
    }

    #[test]
    fn a_socket_is_served_by_one_thread_whoever_has_it() {
        let (sockets, socket, _near) = readable();
        let duties = Duties::new(2).unwrap();
        duties.add(&socket).unwrap();
        assert_eq!(seers(&duties), [Role::First]);
        duties.part(&sockets).unwrap();
        duties.part(&sockets).unwrap();
        assert!(duties.are_apart());
        assert_eq!(seers(&duties), [Role::Second]);
        duties.join(&sockets).unwrap();
        assert_eq!(seers(&duties), [Role::First]);
    }

    #[test]
    fn one_that_comes_or_goes_under_load_does_so_at_the_second() {
        let (sockets, socket, _near) = readable();
        let duties = Duties::new(2).unwrap();
        duties.part(&sockets).unwrap();
        duties.add(&socket).unwrap();
        assert_eq!(seers(&duties), [Role::Second]);
        duties.remove(socket.udp.descriptor());
        assert_eq!(seers(&duties), []);
        // Between being taken from here and being forgotten it is left alone.
        duties.join(&sockets).unwrap();
        assert_eq!(seers(&duties), []);
    }

    #[test]
    fn where_there_is_one_thread_it_keeps_them() {
        let (sockets, socket, _near) = readable();
        let duties = Duties::new(1).unwrap();
        duties.add(&socket).unwrap();
        duties.part(&sockets).unwrap();
        assert!(!duties.are_apart());
        assert_eq!(seers(&duties), [Role::First]);
    }

    #[test]
    fn crowds_are_remembered_for_a_while() {
        let duties = Duties::new(2).unwrap();
        assert!(!duties.is_crowded(1.0));
        duties.note_crowd(false, 1.0);
        assert!(duties.is_crowded(1.0 + CALM / 2.0));
        assert!(!duties.is_crowded(1.0 + CALM * 2.0));
        assert!(!duties.carries_crowds(1.0));
        duties.note_crowd(true, 2.0);
        assert!(duties.carries_crowds(2.0 + CALM / 2.0));
        assert!(!duties.carries_crowds(2.0 + CALM * 2.0));
    }
}
