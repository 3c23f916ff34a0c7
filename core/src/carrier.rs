//! Threads that carry packets between the TUN device and the sockets.
//!
//! A *reader* reads the device, seals, and sends; a *receiver* receives, opens, and writes
//! to the device. They are one thread or two. A reader does not read while a socket
//! blocks: that is all the back-pressure there is.

use std::io::{self, ErrorKind};
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::bundle::Bundle;
use crate::coalesce::Coalescer;
use crate::endpoint::UDP;
use crate::receiver::Receiver;
use crate::segment::Segments;
use crate::sender::{Outlet, Sender};
use crate::shared::Shared;
use crate::sockets::{Socket, Sockets, Transmitter, WRITABLE};
use crate::system::event::Event;
use crate::system::now;
use crate::system::poll::{Happening, Interest, Poll};
use crate::system::tun::{borrowed, is_gone, Tun, READ_SIZE};
use crate::table::Table;
use crate::up::{Target, Trouble, NOTES_WAIT};
use crate::vnet;

/// Reads of the device before the sockets are looked at.
const READS_PER_TURN: usize = 16;
/// Receptions from one socket before the others are looked at.
const RECEPTIONS_PER_TURN: usize = 32;
/// Bytes that one call receives at most.
const RECEIVE_SIZE: usize = 1 << 16;
/// Bytes of opened packets that are written before more are received.
const ENOUGH: usize = 1 << 15;
const TUN_TOKEN: u64 = 0;
const WAKE_TOKEN: u64 = 1;
const FIRST_SOCKET: u64 = 2;
const READABLE: Interest = Interest {
    readable: true,
    writable: false,
};
const NOTHING: Interest = Interest {
    readable: false,
    writable: false,
};
/// How long a thread rests after an error that nothing is known about.
const REST: Duration = Duration::from_millis(5);

/// The descriptors, and the threads that serve them.
pub struct Carrier {
    state: Arc<State>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

/// What threads of a carrier share.
struct State {
    shared: Arc<Shared>,
    tun: Tun,
    sockets: Arc<Sockets>,
    /// Waits for the device, and for sockets that block.
    reading: Arc<Poll>,
    /// Waits for datagrams.
    receiving: Arc<Poll>,
    wake: Event,
    is_stopping: AtomicBool,
    /// Whether a thread is to panic, as a test wants it.
    is_to_fail: AtomicBool,
    gate: Mutex<Gate>,
    /// The interface whose datagrams are not taken: the tunnel's own.
    refused: AtomicU32,
    last_token: AtomicU64,
    dropped: AtomicU64,
    malformed: AtomicU64,
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
    /// :param threads: one for both directions, or two.
    pub fn start(
        shared: Arc<Shared>,
        tun: i32,
        has_header: bool,
        threads: usize,
    ) -> io::Result<Carrier> {
        let tun = Tun::new(borrowed(tun)?, has_header)?;
        let reading = Arc::new(Poll::new()?);
        let receiving = if threads > 1 {
            Arc::new(Poll::new()?)
        } else {
            reading.clone()
        };
        let state = Arc::new(State {
            shared,
            tun,
            sockets: Arc::default(),
            reading,
            receiving,
            wake: Event::new()?,
            is_stopping: AtomicBool::new(false),
            is_to_fail: AtomicBool::new(false),
            gate: Mutex::default(),
            refused: AtomicU32::new(0),
            last_token: AtomicU64::new(FIRST_SOCKET),
            dropped: AtomicU64::new(0),
            malformed: AtomicU64::new(0),
        });
        state
            .reading
            .add(state.tun.descriptor(), TUN_TOKEN, READABLE)?;
        let mut polls = vec![state.reading.clone()];
        if threads > 1 {
            polls.push(state.receiving.clone());
        }
        let carrier = Carrier {
            state,
            threads: Mutex::default(),
        };
        for poll in polls {
            poll.add(carrier.state.wake.descriptor(), WAKE_TOKEN, READABLE)?;
            carrier.spawn(poll)?;
        }
        Ok(carrier)
    }

    fn spawn(&self, poll: Arc<Poll>) -> io::Result<()> {
        let state = self.state.clone();
        let builder = std::thread::Builder::new().name("meshwg-core".into());
        let thread = builder.spawn(move || {
            let mut worker = Worker::new(state.clone(), poll);
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
        state
            .receiving
            .add(socket.udp.descriptor(), token, READABLE)
    }

    /// Forget the sockets of a link, which can then be closed.
    pub fn remove_link(&self, link: i64) {
        for socket in self.state.sockets.remove(link) {
            let _ = self.state.receiving.remove(socket.udp.descriptor());
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

impl State {
    fn change_gate(&self, change: impl FnOnce(&mut Gate)) {
        let mut gate = self.gate.lock().unwrap_or_else(PoisonError::into_inner);
        let before = *gate;
        change(&mut gate);
        let descriptor = self.tun.descriptor();
        if gate.is_gone && !before.is_gone {
            let _ = self.reading.remove(descriptor);
        } else if gate.is_open() != before.is_open() && !gate.is_gone {
            let interest = if gate.is_open() { READABLE } else { NOTHING };
            let _ = self.reading.change(descriptor, TUN_TOKEN, interest);
        }
    }

    fn lose_tun(&self) {
        self.change_gate(|gate| gate.is_gone = true);
        self.shared.tell(Trouble::TunGone);
    }

    /// Write what was opened.
    fn write(&self, coalescer: &mut Coalescer, buffer: &[u8]) {
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

/// One thread.
struct Worker {
    state: Arc<State>,
    poll: Arc<Poll>,
    sender: Sender,
    way_out: WayOut,
    coalescer: Coalescer,
    read: Box<[u8]>,
    arrived: Box<[u8]>,
}

impl Worker {
    fn new(state: Arc<State>, poll: Arc<Poll>) -> Self {
        let transmitter =
            Transmitter::new(state.shared.clone(), state.sockets.clone(), poll.clone());
        Worker {
            coalescer: Coalescer::new(state.tun.offloads),
            way_out: WayOut {
                state: state.clone(),
                transmitter,
                other: Vec::new(),
            },
            sender: Sender::new(),
            read: vec![0; READ_SIZE].into_boxed_slice(),
            arrived: vec![0; ENOUGH + RECEIVE_SIZE].into_boxed_slice(),
            state,
            poll,
        }
    }

    fn run(&mut self) -> io::Result<()> {
        let mut happenings = Vec::new();
        while !self.state.is_stopping.load(Relaxed) {
            self.poll.wait(self.patience(), &mut happenings)?;
            if self.state.is_to_fail.swap(false, Relaxed) {
                panic!("a test wants it");
            }
            let now = now();
            for happening in &happenings {
                self.serve(happening, now)?;
            }
            self.tell_in_time(now);
        }
        Ok(())
    }

    /// Return for how many milliseconds to wait.
    fn patience(&self) -> i32 {
        if self.state.shared.up().has_notes_to_tell() {
            (NOTES_WAIT * 1000.0) as i32
        } else {
            -1
        }
    }

    /// Tell the owner of notes that have waited long enough.
    fn tell_in_time(&self, now: f64) {
        let is_due = self.state.shared.up().are_notes_to_be_told(now);
        if is_due {
            self.state.shared.bell.ring();
        }
    }

    fn serve(&mut self, happening: &Happening, now: f64) -> io::Result<()> {
        match happening.token {
            WAKE_TOKEN => Ok(()),
            TUN_TOKEN => {
                self.read_turn(now);
                Ok(())
            }
            token if token & WRITABLE != 0 => {
                self.way_out.transmitter.flush(token & !WRITABLE);
                self.way_out.transmitter.forget_closed();
                self.mind_the_gate();
                Ok(())
            }
            token => {
                if let Some(socket) = self.state.sockets.with_token(token) {
                    self.receive_turn(&socket, now);
                }
                Ok(())
            }
        }
    }

    /// Send what the interface has.
    fn read_turn(&mut self, now: f64) {
        let state = self.state.clone();
        let table = state.shared.table();
        for _ in 0..READS_PER_TURN {
            let length = match state.tun.read(&mut self.read) {
                Ok(length) => length,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if is_gone(&error) => {
                    state.lose_tun();
                    break;
                }
                Err(_) => {
                    std::thread::sleep(REST);
                    break;
                }
            };
            let data = &self.read[..length];
            let (sender, way_out) = (&mut self.sender, &mut self.way_out);
            match segments(data, state.tun.offloads.has_header) {
                Some(segments) => {
                    sender.take_segments(&state.shared, &table, &segments, now, way_out);
                }
                None => {
                    state.malformed.fetch_add(1, Relaxed);
                }
            }
            if self.way_out.transmitter.is_blocked() {
                break;
            }
        }
        self.sender
            .finish(&state.shared, &table, now, &mut self.way_out);
        self.mind_the_gate();
    }

    /// Read the device only while all sockets take what is sent.
    fn mind_the_gate(&self) {
        let is_blocked = self.way_out.transmitter.is_blocked();
        self.state.change_gate(|gate| gate.is_blocked = is_blocked);
    }

    /// Pass on what has arrived.
    fn receive_turn(&mut self, socket: &Socket, now: f64) {
        let state = self.state.clone();
        let table = state.shared.table();
        let mut receiver = Receiver::new(&state.shared, &table, now);
        let mut used = 0;
        for _ in 0..RECEPTIONS_PER_TURN {
            let room = &mut self.arrived[used..used + RECEIVE_SIZE];
            let received = match socket.udp.receive(room) {
                Ok(received) => received,
                Err(error) => {
                    if error.kind() != ErrorKind::WouldBlock {
                        state.sockets.count(error.raw_os_error().unwrap_or(0), 1);
                    }
                    break;
                }
            };
            if self.is_refused(&received.from) {
                state.sockets.count(libc::ELOOP, 1);
                continue;
            }
            let end = used + received.length;
            let coalescer = &mut self.coalescer;
            // There is one at least: an empty datagram is a datagram.
            for start in (used..end.max(used + 1)).step_by(received.stride) {
                let place = start..(start + received.stride).min(end);
                receiver.take(
                    &mut self.arrived,
                    place,
                    received.from,
                    &mut |buffer, place| {
                        coalescer.add(buffer, place);
                    },
                );
            }
            used = end;
            if used >= ENOUGH {
                state.write(&mut self.coalescer, &self.arrived);
                used = 0;
            }
        }
        let changes = receiver.finish();
        drop(table);
        // Answers to what is written now have to go there already.
        state.shared.follow(changes);
        state.write(&mut self.coalescer, &self.arrived);
    }

    fn is_refused(&self, from: &crate::endpoint::Endpoint) -> bool {
        let refused = self.state.refused.load(Relaxed);
        refused != 0
            && from
                .source
                .is_some_and(|source| source.interface == refused)
    }
}

/// Return the packets in what was read.
fn segments(data: &[u8], has_header: bool) -> Option<Segments<'_>> {
    if has_header {
        let (header, packet) = vnet::Header::parse(data)?;
        return Segments::of(&header, packet);
    }
    Segments::of(&vnet::Header::default(), data)
}

/// Sends bundles where their lanes lead.
struct WayOut {
    state: Arc<State>,
    transmitter: Transmitter,
    /// Where bundles are put together anew.
    other: Vec<u8>,
}

impl Outlet for WayOut {
    fn send(&mut self, table: &Table, bundle: &mut Bundle) {
        if bundle.is_empty() {
            return;
        }
        let lane = table.lanes.get(&bundle.lane);
        let ends = lane.map_or([None, None], |lane| [lane.endpoint, lane.second]);
        for endpoint in ends.into_iter().flatten() {
            let way = table.way_to(endpoint);
            let is_ours = way.to.link == UDP || self.state.sockets.find(&way.to).is_some();
            if is_ours {
                let (datagrams, stride) = bundle.framed(way.channel, &mut self.other);
                let source = table.source_of(&way.to);
                self.transmitter.send(datagrams, stride, way.to, source);
            } else {
                let messages = bundle.messages().map(<[u8]>::to_vec).collect();
                let target = Target::Elsewhere(endpoint);
                self.state.shared.up().push_outgoing(target, messages);
                self.state.shared.bell.ring();
            }
        }
    }

    fn answer(&mut self, packet: Vec<u8>) {
        let mut coalescer = Coalescer::new(self.state.tun.offloads);
        coalescer.add(&packet, 0..packet.len());
        self.state.write(&mut coalescer, &packet);
    }
}

/// Return what a panic has said.
pub fn said(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(ToString::to_string);
    text.or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "it said nothing".into())
}
