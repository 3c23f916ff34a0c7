//! The sockets that messages go through, and what waits while one of them blocks.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use crate::delivery::{deliver, Problem};
use crate::endpoint::{Endpoint, Source};
use crate::lateness::Lateness;
use crate::shared::Shared;
use crate::system::poll::{Interest, Poll};
use crate::system::tun::duplicate;
use crate::system::udp::UdpSocket;
use crate::up::Trouble;

/// Batches kept while a socket blocks.
const MAX_WAITING: usize = 64;
/// Added to the token of a socket that is waited for to be writable.
pub const WRITABLE: u64 = 1 << 63;

/// A socket, and what is known of it.
pub struct Socket {
    pub token: u64,
    pub udp: UdpSocket,
    /// Another descriptor of it, to wait for until it takes more.
    writer: OwnedFd,
    segments: AtomicBool,
    lateness: Mutex<Lateness>,
}

impl Socket {
    /// Return whether datagrams wait for too long for too long, so that one should be
    /// dropped; to be asked after one was received and more may wait.
    pub fn has_stood(&self, now: f64) -> bool {
        let waited = self.udp.last_waited();
        self.lock_lateness().is_too_much(waited, now)
    }

    /// Note that no datagram waited a moment ago.
    pub fn has_been_emptied(&self) {
        self.lock_lateness().is_too_much(0.0, 0.0);
    }

    fn lock_lateness(&self) -> std::sync::MutexGuard<'_, Lateness> {
        self.lateness.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// All sockets, by link and address family.
#[derive(Default)]
pub struct Sockets {
    by_way: RwLock<HashMap<(i64, bool), Arc<Socket>>>,
    by_token: RwLock<HashMap<u64, Arc<Socket>>>,
    errors: Mutex<HashMap<i32, u64>>,
}

impl Sockets {
    /// Use a socket that its owner keeps open.
    pub fn add(
        &self,
        token: u64,
        descriptor: i32,
        link: i64,
        is_ipv4: bool,
    ) -> io::Result<Arc<Socket>> {
        let udp = UdpSocket::new(duplicate(descriptor)?, link, is_ipv4);
        let segments = AtomicBool::new(udp.can_segment());
        let socket = Arc::new(Socket {
            token,
            udp,
            writer: duplicate(descriptor)?,
            segments,
            lateness: Mutex::default(),
        });
        write(&self.by_way).insert((link, is_ipv4), socket.clone());
        write(&self.by_token).insert(token, socket.clone());
        Ok(socket)
    }

    /// Forget the sockets of a link.
    pub fn remove(&self, link: i64) -> Vec<Arc<Socket>> {
        let mut by_way = write(&self.by_way);
        let sockets = [true, false].map(|is_ipv4| by_way.remove(&(link, is_ipv4)));
        let sockets: Vec<_> = sockets.into_iter().flatten().collect();
        for socket in &sockets {
            write(&self.by_token).remove(&socket.token);
        }
        sockets
    }

    pub fn all(&self) -> Vec<Arc<Socket>> {
        let by_token = self.by_token.read().unwrap_or_else(PoisonError::into_inner);
        by_token.values().cloned().collect()
    }

    pub fn find(&self, to: &Endpoint) -> Option<Arc<Socket>> {
        let by_way = self.by_way.read().unwrap_or_else(PoisonError::into_inner);
        by_way.get(&(to.link, to.is_ipv4())).cloned()
    }

    pub fn with_token(&self, token: u64) -> Option<Arc<Socket>> {
        let by_token = self.by_token.read().unwrap_or_else(PoisonError::into_inner);
        by_token.get(&token).cloned()
    }

    pub fn count(&self, error: i32, datagrams: usize) {
        let mut errors = self.errors.lock().unwrap_or_else(PoisonError::into_inner);
        *errors.entry(error).or_default() += datagrams as u64;
    }

    /// Return how many datagrams were lost by each error, and forget it.
    pub fn take_errors(&self) -> HashMap<i32, u64> {
        std::mem::take(&mut self.errors.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

fn write<T>(lock: &RwLock<T>) -> std::sync::RwLockWriteGuard<'_, T> {
    lock.write().unwrap_or_else(PoisonError::into_inner)
}

/// Datagrams for one endpoint.
struct Batch {
    datagrams: Vec<u8>,
    stride: usize,
    to: Endpoint,
    source: Option<Source>,
}

/// Sends through sockets, and keeps what they do not take at once.
pub struct Transmitter {
    shared: Arc<Shared>,
    sockets: Arc<Sockets>,
    poll: Arc<Poll>,
    waiting: HashMap<u64, (Arc<Socket>, VecDeque<Batch>)>,
}

impl Transmitter {
    /// :param poll: that tells when a socket with its token and [`WRITABLE`] takes more.
    pub fn new(shared: Arc<Shared>, sockets: Arc<Sockets>, poll: Arc<Poll>) -> Self {
        Transmitter {
            shared,
            sockets,
            poll,
            waiting: HashMap::new(),
        }
    }

    /// Return whether batches wait for a socket.
    pub fn is_blocked(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Send datagrams of that length, the last perhaps shorter.
    pub fn send(&mut self, datagrams: &[u8], stride: usize, to: Endpoint, source: Option<Source>) {
        let count = datagrams.len().div_ceil(stride.max(1));
        let Some(socket) = self.sockets.find(&to) else {
            self.sockets.count(libc::EAFNOSUPPORT, count);
            return;
        };
        if self.waiting.contains_key(&socket.token) {
            self.keep(&socket, datagrams, stride, to, source);
        } else if let Some(sent) = self.send_now(&socket, datagrams, stride, to, source) {
            self.keep(&socket, &datagrams[sent..], stride, to, source);
        }
    }

    /// Send what waits for a socket, which takes more now, or is gone.
    pub fn flush(&mut self, token: u64) {
        let Some((socket, mut batches)) = self.waiting.remove(&token) else {
            return;
        };
        while let Some(mut batch) = batches.pop_front() {
            let (stride, to, source) = (batch.stride, batch.to, batch.source);
            if let Some(sent) = self.send_now(&socket, &batch.datagrams, stride, to, source) {
                batch.datagrams.drain(..sent);
                batches.push_front(batch);
                self.waiting.insert(token, (socket, batches));
                return;
            }
        }
        let _ = self.poll.remove(socket.writer.as_raw_fd());
    }

    /// Forget what waits for sockets that are no longer there.
    pub fn forget_closed(&mut self) {
        let sockets = &self.sockets;
        self.waiting.retain(|&token, (socket, _)| {
            let is_there = sockets.with_token(token).is_some();
            if !is_there {
                let _ = self.poll.remove(socket.writer.as_raw_fd());
            }
            is_there
        });
    }

    /// Send; return how many bytes were sent if the socket blocks.
    fn send_now(
        &self,
        socket: &Socket,
        datagrams: &[u8],
        stride: usize,
        to: Endpoint,
        source: Option<Source>,
    ) -> Option<usize> {
        let together = socket.segments.load(Relaxed);
        let send = |part: &[u8], source| socket.udp.send(part, stride, &to, source);
        let delivered = deliver(datagrams, stride, source, together, send);
        for problem in delivered.problems {
            match problem {
                Problem::Unpinned => self.shared.tell(Trouble::Unpinned(to.unpinned())),
                Problem::NeverTogether => socket.segments.store(false, Relaxed),
                Problem::Lost(error, count) => self.sockets.count(error, count),
            }
        }
        delivered.blocked_at
    }

    fn keep(
        &mut self,
        socket: &Arc<Socket>,
        datagrams: &[u8],
        stride: usize,
        to: Endpoint,
        source: Option<Source>,
    ) {
        let batch = Batch {
            datagrams: datagrams.to_vec(),
            stride,
            to,
            source,
        };
        match self.waiting.get_mut(&socket.token) {
            Some((_, batches)) if batches.len() >= MAX_WAITING => {
                let count = batch.datagrams.len().div_ceil(stride);
                self.sockets.count(libc::ENOBUFS, count);
            }
            Some((_, batches)) => batches.push_back(batch),
            None => {
                let writable = Interest {
                    readable: false,
                    writable: true,
                };
                let token = socket.token | WRITABLE;
                let _ = self.poll.add(socket.writer.as_raw_fd(), token, writable);
                let batches = VecDeque::from([batch]);
                self.waiting.insert(socket.token, (socket.clone(), batches));
            }
        }
    }
}
