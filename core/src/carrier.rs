//! Threads that carry packets between the TUN device and the sockets.
//!
//! What one of them does is in `worker`, which of them does it in `duties`. The device is
//! not read while a socket blocks: that is all the back-pressure there is.

use std::io;
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use crate::coalesce::Coalescer;
use crate::duties::{Duties, Role};
use crate::endpoint::Endpoint;
use crate::shared::Shared;
use crate::sockets::Sockets;
use crate::system::event::Event;
use crate::system::now;
use crate::system::poll::{Interest, Poll};
use crate::system::tun::{borrowed, is_gone, Tun};
use crate::up::Trouble;
use crate::worker::Worker;

pub const TUN_TOKEN: u64 = 0;
pub const WAKE_TOKEN: u64 = 1;
const FIRST_SOCKET: u64 = 2;
const READABLE: Interest = Interest {
    readable: true,
    writable: false,
};
const NOTHING: Interest = Interest {
    readable: false,
    writable: false,
};

/// The descriptors, and the threads that serve them.
pub struct Carrier {
    state: Arc<State>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

/// What threads of a carrier share.
pub struct State {
    pub shared: Arc<Shared>,
    pub tun: Tun,
    pub sockets: Arc<Sockets>,
    pub duties: Duties,
    pub is_stopping: AtomicBool,
    /// Whether a thread is to panic, as a test wants it.
    pub is_to_fail: AtomicBool,
    pub malformed: AtomicU64,
    wake: Event,
    gate: Mutex<Gate>,
    /// The interface whose datagrams are not taken: the tunnel's own.
    refused: AtomicU32,
    last_token: AtomicU64,
    dropped: AtomicU64,
}

/// Why the device is not read.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
struct Gate {
    is_blocked: bool,
    is_paused: bool,
    is_gone: bool,
}

impl Gate {
    fn is_open(self) -> bool {
        self == Gate::default()
    }
}

impl Carrier {
    /// Make threads that wait for sockets.
    ///
    /// :param threads: one, or two.
    pub fn start(
        shared: Arc<Shared>,
        tun: i32,
        has_header: bool,
        threads: usize,
    ) -> io::Result<Carrier> {
        let state = Arc::new(State {
            shared,
            tun: Tun::new(borrowed(tun)?, has_header)?,
            sockets: Arc::default(),
            duties: Duties::new(threads)?,
            wake: Event::new()?,
            is_stopping: AtomicBool::new(false),
            is_to_fail: AtomicBool::new(false),
            gate: Mutex::default(),
            refused: AtomicU32::new(0),
            last_token: AtomicU64::new(FIRST_SOCKET),
            dropped: AtomicU64::new(0),
            malformed: AtomicU64::new(0),
        });
        let first = state.duties.first();
        first.add(state.tun.descriptor(), TUN_TOKEN, READABLE)?;
        let carrier = Carrier {
            state,
            threads: Mutex::default(),
        };
        for (role, poll) in carrier.state.duties.threads() {
            poll.add(carrier.state.wake.descriptor(), WAKE_TOKEN, READABLE)?;
            carrier.spawn(role, poll)?;
        }
        Ok(carrier)
    }

    fn spawn(&self, role: Role, poll: Arc<Poll>) -> io::Result<()> {
        let state = self.state.clone();
        let builder = std::thread::Builder::new().name("meshwg-core".into());
        let thread = builder.spawn(move || {
            let mut worker = Worker::new(state.clone(), role, poll);
            let result = catch_unwind(AssertUnwindSafe(|| worker.run()));
            let why = match result {
                Ok(Ok(())) => return,
                Ok(Err(error)) => error.to_string(),
                Err(panic) => said(panic.as_ref()),
            };
            state.shared.tell(Trouble::Panic(why));
        })?;
        self.lock_threads().push(thread);
        Ok(())
    }

    /// Receive from a socket, and send through it.
    pub fn add_socket(&self, descriptor: i32, link: i64, is_ipv4: bool) -> io::Result<()> {
        let state = &self.state;
        let token = state.last_token.fetch_add(1, Relaxed);
        let socket = state.sockets.add(token, descriptor, link, is_ipv4)?;
        state.duties.add(&socket)
    }

    /// Forget the sockets of a link, which can then be closed.
    pub fn remove_link(&self, link: i64) {
        for socket in self.state.sockets.remove(link) {
            self.state.duties.remove(socket.udp.descriptor());
        }
    }

    /// Take nothing that comes in over an interface, 0 for none.
    pub fn refuse(&self, interface: u32) {
        self.state.refused.store(interface, Relaxed);
    }

    /// Read the device or not, as the owner's other ways out demand.
    pub fn pause(&self, is_paused: bool) {
        self.state.change_gate(|gate| gate.is_paused = is_paused);
    }

    /// Let a thread panic, to see what becomes of it.
    pub fn fail(&self) {
        self.state.is_to_fail.store(true, Relaxed);
        self.state.wake.ring();
    }

    /// Return how many packets the kernel did not take, and how many were malformed.
    pub fn counts(&self) -> (u64, u64) {
        let state = &self.state;
        (state.dropped.load(Relaxed), state.malformed.load(Relaxed))
    }

    /// Return whether packets were carried in crowds lately.
    pub fn is_crowded(&self) -> bool {
        self.state.duties.carries_crowds(now())
    }

    pub fn sockets(&self) -> &Sockets {
        &self.state.sockets
    }

    /// End all threads, and leave the device as it was.
    pub fn stop(&self) {
        self.state.is_stopping.store(true, Relaxed);
        self.state.wake.ring();
        let threads: Vec<_> = self.lock_threads().drain(..).collect();
        for thread in threads {
            let _ = thread.join();
        }
        self.state.tun.give_back();
    }

    fn lock_threads(&self) -> std::sync::MutexGuard<'_, Vec<JoinHandle<()>>> {
        self.threads.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Carrier {
    /// No thread outlives it, also where the second one could not be made.
    fn drop(&mut self) {
        self.stop();
    }
}

impl State {
    /// Read the device only while all sockets take what is sent.
    pub fn mind_the_gate(&self, is_blocked: bool) {
        self.change_gate(|gate| gate.is_blocked = is_blocked);
    }

    /// Return whether a datagram came in over the tunnel itself.
    pub fn is_refused(&self, from: &Endpoint) -> bool {
        let refused = self.refused.load(Relaxed);
        let source = from.source;
        refused != 0 && source.is_some_and(|source| source.interface == refused)
    }

    /// Do without the device from now on: the interface was removed.
    pub fn lose_tun(&self) {
        self.change_gate(|gate| gate.is_gone = true);
        self.shared.tell(Trouble::TunGone);
    }

    fn change_gate(&self, change: impl FnOnce(&mut Gate)) {
        let mut gate = self.gate.lock().unwrap_or_else(PoisonError::into_inner);
        let before = *gate;
        change(&mut gate);
        let descriptor = self.tun.descriptor();
        if gate.is_gone && !before.is_gone {
            let _ = self.duties.first().remove(descriptor);
        } else if gate.is_open() != before.is_open() && !gate.is_gone {
            let interest = if gate.is_open() { READABLE } else { NOTHING };
            let first = self.duties.first();
            let _ = first.change(descriptor, TUN_TOKEN, interest);
        }
    }

    /// Write what was opened.
    pub fn write(&self, coalescer: &mut Coalescer, buffer: &[u8]) {
        let mut refused = false;
        coalescer.flush(buffer, |parts, packets| {
            let Err(error) = self.tun.write(parts) else {
                return;
            };
            if is_gone(&error) {
                self.lose_tun();
            }
            // A kernel that knows fewer superpackets than it said gets none any more.
            refused |= packets > 1 && error.raw_os_error() == Some(libc::EINVAL);
            self.dropped.fetch_add(packets as u64, Relaxed);
        });
        if refused {
            coalescer.offloads.tcp = false;
            coalescer.offloads.udp = false;
        }
    }
}

/// Return what a panic has said.
pub fn said(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(ToString::to_string);
    text.or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "it said nothing".into())
}
