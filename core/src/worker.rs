//! What one thread of a carrier does: it waits, and carries what there is.
//!
//! From the device it reads, seals, and sends; from the sockets it receives, opens, and
//! writes to the device. A packet that comes alone is passed on before anything else is
//! asked; of a crowd, a turn carries about a millisecond's work, so that nothing waits
//! longer for the others.

use std::io::{self, ErrorKind};
use std::sync::atomic::Ordering::Relaxed;
use std::sync::Arc;
use std::time::Duration;

use crate::bundle::Bundle;
use crate::carrier::{State, TUN_TOKEN, WAKE_TOKEN};
use crate::coalesce::Coalescer;
use crate::duties::Role;
use crate::endpoint::UDP;
use crate::pace::{Load, Pace, CALM};
use crate::receiver::Receiver;
use crate::segment::Segments;
use crate::sender::{Outlet, Sender};
use crate::sockets::{Socket, Transmitter, WRITABLE};
use crate::system::now;
use crate::system::poll::{Happening, Poll};
use crate::system::tun::{is_gone, READ_SIZE};
use crate::system::udp::Received;
use crate::table::Table;
use crate::up::{Target, NOTES_WAIT};
use crate::vnet;

/// Packets, in either direction, after which the other one is looked at: about a
/// millisecond's work.
const PACKETS_PER_TURN: usize = 720;
/// System calls of a turn, however little they bring: what fits into one sending call.
const CALLS_PER_TURN: usize = 64;
/// Bytes that one call receives at most.
const RECEIVE_SIZE: usize = 1 << 16;
/// Bytes of opened packets that are written before more are received.
const ENOUGH: usize = 1 << 15;
/// How long a thread rests after an error that nothing is known about.
const REST: Duration = Duration::from_millis(5);

/// One thread.
pub struct Worker {
    state: Arc<State>,
    role: Role,
    poll: Arc<Poll>,
    sender: Sender,
    way_out: WayOut,
    coalescer: Coalescer,
    /// How packets of the device come, how datagrams do, and whether it is many of them.
    reads: Pace,
    receptions: Pace,
    load: Load,
    is_loaded: bool,
    read: Box<[u8]>,
    arrived: Box<[u8]>,
}

/// Why a turn ended.
enum End {
    /// There is nothing more.
    Empty,
    /// The others are to be looked at.
    Enough,
    /// An error that nothing is known about.
    Unknown,
}

impl Worker {
    pub fn new(state: Arc<State>, role: Role, poll: Arc<Poll>) -> Self {
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
            reads: Pace::new(),
            receptions: Pace::new(),
            load: Load::default(),
            is_loaded: false,
            read: vec![0; READ_SIZE].into_boxed_slice(),
            arrived: vec![0; ENOUGH + RECEIVE_SIZE].into_boxed_slice(),
            state,
            role,
            poll,
        }
    }

    /// Carry until the carrier stops.
    pub fn run(&mut self) -> io::Result<()> {
        let mut happenings = Vec::new();
        while !self.state.is_stopping.load(Relaxed) {
            self.poll.wait(self.patience(), &mut happenings)?;
            if self.state.is_to_fail.swap(false, Relaxed) {
                panic!("a test wants it");
            }
            let now = now();
            for happening in &happenings {
                self.serve(happening, now);
            }
            self.tell_in_time(now);
            self.change_duties(now)?;
        }
        Ok(())
    }

    /// Return for how many milliseconds to wait.
    fn patience(&self) -> i32 {
        let is_second = self.role == Role::Second;
        let are_apart = self.state.duties.are_apart();
        if is_second && !are_apart {
            -1
        } else if self.state.shared.up().has_notes_to_tell() {
            (NOTES_WAIT * 1000.0) as i32
        } else if is_second {
            (CALM * 1000.0) as i32
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

    /// Leave the sockets to the other thread, if that is better by now.
    fn change_duties(&mut self, now: f64) -> io::Result<()> {
        let (duties, sockets) = (&self.state.duties, &self.state.sockets);
        match self.role {
            Role::First if std::mem::take(&mut self.is_loaded) => duties.part(sockets),
            Role::Second if !duties.is_crowded(now) => {
                // The first thread may be asleep, and knows nothing of its notes.
                if self.state.shared.up().tell_of_notes() {
                    self.state.shared.bell.ring();
                }
                duties.join(sockets)
            }
            _ => Ok(()),
        }
    }

    fn serve(&mut self, happening: &Happening, now: f64) {
        match happening.token {
            WAKE_TOKEN => (),
            TUN_TOKEN => self.read_turn(now),
            token if token & WRITABLE != 0 => {
                self.way_out.transmitter.flush(token & !WRITABLE);
                self.way_out.transmitter.forget_closed();
                self.mind_the_gate();
            }
            token => {
                if let Some(socket) = self.state.sockets.with_token(token) {
                    self.receive_turn(&socket, now);
                }
            }
        }
    }

    /// Note how many packets came together, and how many of these were carried.
    fn note_crowd(&mut self, count: usize, carried: usize, now: f64) {
        if count > 1 {
            self.state.duties.note_crowd(carried > 1, now);
            self.is_loaded |= self.load.note(now);
        }
    }

    /// Send what the interface has.
    fn read_turn(&mut self, now: f64) {
        let state = self.state.clone();
        let table = state.shared.table();
        let is_lone = self.reads.is_lone(now);
        let calls = if is_lone { 1 } else { CALLS_PER_TURN };
        let mut count = 0;
        let mut end = End::Enough;
        for _ in 0..calls {
            match state.tun.read(&mut self.read) {
                Ok(length) => count += self.pass_on(&state, &table, length, now),
                Err(error) => {
                    end = state.end_of(&error);
                    break;
                }
            }
            if count >= PACKETS_PER_TURN || self.way_out.transmitter.is_blocked() {
                break;
            }
        }
        self.sender
            .finish(&state.shared, &table, now, &mut self.way_out);
        drop(table);
        self.mind_the_gate();
        self.reads.note(count, now);
        self.note_crowd(count, count, now);
        if matches!(end, End::Unknown) {
            std::thread::sleep(REST);
        }
    }

    /// Seal what was read, which has that length, and return how many packets it was.
    fn pass_on(&mut self, state: &State, table: &Table, length: usize, now: f64) -> usize {
        let data = &self.read[..length];
        let Some(segments) = segments(data, state.tun.offloads.has_header) else {
            state.malformed.fetch_add(1, Relaxed);
            return 0;
        };
        let way_out = &mut self.way_out;
        self.sender
            .take_segments(&state.shared, table, &segments, now, way_out);
        segments.count
    }

    /// Read the device only while all sockets take what is sent.
    fn mind_the_gate(&self) {
        let is_blocked = self.way_out.transmitter.is_blocked();
        self.state.mind_the_gate(is_blocked);
    }

    /// Pass on what has arrived.
    fn receive_turn(&mut self, socket: &Socket, now: f64) {
        let state = self.state.clone();
        let table = state.shared.table();
        let mut receiver = Receiver::new(&state.shared, &table, now);
        let is_lone = self.receptions.is_lone(now);
        let calls = if is_lone { 1 } else { CALLS_PER_TURN };
        let (mut used, mut count, mut carried) = (0, 0, 0);
        for call in 1..=calls {
            let room = &mut self.arrived[used..used + RECEIVE_SIZE];
            let Some(received) = state.receive(socket, room) else {
                socket.has_been_emptied();
                break;
            };
            count += received.length.div_ceil(received.stride);
            let is_last = call == calls || count >= PACKETS_PER_TURN;
            let is_late = is_last && !is_lone && socket.has_stood(now);
            let start = if is_late { received.stride } else { 0 };
            carried += self.take(&mut receiver, &received, used, start);
            used += received.length;
            if used >= ENOUGH {
                state.write(&mut self.coalescer, &self.arrived);
                used = 0;
            }
            if is_last {
                break;
            }
        }
        let changes = receiver.finish();
        drop(table);
        // Answers to what is written now have to go there already.
        state.shared.follow(changes);
        state.write(&mut self.coalescer, &self.arrived);
        self.receptions.note(count, now);
        self.note_crowd(count, carried, now);
    }

    /// Open what was received, from an offset on, which is in the buffer from `used` on.
    ///
    /// Return how many packets for the device there were.
    fn take(
        &mut self,
        receiver: &mut Receiver,
        received: &Received,
        used: usize,
        offset: usize,
    ) -> usize {
        if self.state.is_refused(&received.from) {
            self.state.sockets.count(libc::ELOOP, 1);
            return 0;
        }
        let mut count = 0;
        let end = used + received.length;
        let coalescer = &mut self.coalescer;
        // There is one at least: an empty datagram is a datagram.
        for start in (used + offset..end.max(used + 1)).step_by(received.stride) {
            let place = start..(start + received.stride).min(end);
            receiver.take(
                &mut self.arrived,
                place,
                received.from,
                &mut |buffer, place| {
                    count += 1;
                    coalescer.add(buffer, place);
                },
            );
        }
        count
    }
}

impl State {
    /// Receive datagrams; `None` if there are none, or none to be had.
    fn receive(&self, socket: &Socket, room: &mut [u8]) -> Option<Received> {
        match socket.udp.receive(room) {
            Ok(received) => Some(received),
            Err(error) => {
                if error.kind() != ErrorKind::WouldBlock {
                    self.sockets.count(error.raw_os_error().unwrap_or(0), 1);
                }
                None
            }
        }
    }

    /// Return what an error of the device means for who reads it.
    fn end_of(&self, error: &io::Error) -> End {
        if error.kind() == ErrorKind::WouldBlock {
            return End::Empty;
        }
        if is_gone(error) {
            self.lose_tun();
            return End::Empty;
        }
        End::Unknown
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
