//! From the network to the interface: messages become packets.

use std::ops::Range;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::Arc;

use crate::channel;
use crate::constants::{DATA_HEADER_LENGTH, DATA_OVERHEAD, MESSAGE_DATA};
use crate::drops::Drop;
use crate::endpoint::Endpoint;
use crate::flows::Direction;
use crate::packet::{addresses, stated_length, IPV4_HEADER_LENGTH};
use crate::session::Session;
use crate::shared::Shared;
use crate::table::{LaneId, Table};
use crate::up::Note;

/// Opens datagrams, and says which packets they held.
pub struct Receiver<'a> {
    shared: &'a Shared,
    table: &'a Table,
    now: f64,
    /// What was opened last, of one session and from one endpoint.
    run: Option<Run>,
    /// The flow that was found genuine last.
    flow: Option<Flow>,
    unjudged: Vec<(Option<LaneId>, Vec<u8>)>,
    /// Whether nothing overtakes what is to be judged.
    keeps_order: bool,
    unusual: Vec<Vec<u8>>,
    unusual_from: Option<Endpoint>,
    /// Whether the owner should look soon at what has come up.
    is_urgent: bool,
    changes: Changes,
}

/// What follows for lanes from what was opened.
#[derive(Default)]
pub struct Changes {
    /// Where lanes were heard from, if that is not where their messages go.
    pub moved: Vec<(LaneId, Endpoint)>,
    /// Sessions that were used for the first time: the peer has them, too.
    pub confirmed: Vec<(LaneId, Arc<Session>)>,
}

/// A lane, the length of addresses, and source and destination.
type Flow = (LaneId, usize, [u8; 32]);

struct Run {
    session: Arc<Session>,
    lane: LaneId,
    endpoint: Endpoint,
    /// Bytes of authentic messages.
    length: u64,
    is_data: bool,
}

impl<'a> Receiver<'a> {
    pub fn new(shared: &'a Shared, table: &'a Table, now: f64) -> Self {
        Receiver {
            shared,
            table,
            now,
            run: None,
            flow: None,
            unjudged: Vec::new(),
            keeps_order: false,
            unusual: Vec::new(),
            unusual_from: None,
            is_urgent: false,
            changes: Changes::default(),
        }
    }

    /// Have everything judged that comes after a packet that is.
    pub fn keep_order(&mut self) {
        self.keeps_order = true;
    }

    /// Take a datagram that is at that place of the buffer, and will be opened there.
    ///
    /// Packets for the interface are handed over by their places.
    pub fn take(
        &mut self,
        buffer: &mut [u8],
        place: Range<usize>,
        endpoint: Endpoint,
        deliver: &mut impl FnMut(&[u8], Range<usize>),
    ) {
        let Some(channels) = self.table.channels_of(&endpoint) else {
            self.open(buffer, place, endpoint, deliver);
            return;
        };
        let Some((number, length)) = channel::parse(&buffer[place.clone()]) else {
            self.open(buffer, place, endpoint, deliver);
            return;
        };
        let start = place.start + channel::HEADER_LENGTH;
        match channels.get(&number) {
            Some(&peer) => self.open(buffer, start..start + length, peer, deliver),
            None => self.pass_up(&buffer[place.start..start + length], endpoint),
        }
    }

    /// Note what was carried, and pass up what is unusual.
    pub fn finish(mut self) -> Changes {
        self.end_run();
        self.end_unusual();
        if !self.unjudged.is_empty() {
            let mut up = self.shared.up();
            up.push_unjudged(self.unjudged.drain(..), Direction::Inbound, self.now);
            self.is_urgent = true;
        }
        if self.is_urgent {
            self.shared.bell.ring();
        }
        self.changes
    }

    fn open(
        &mut self,
        buffer: &mut [u8],
        place: Range<usize>,
        endpoint: Endpoint,
        deliver: &mut impl FnMut(&[u8], Range<usize>),
    ) {
        let message = &mut buffer[place.clone()];
        if !self.find_run(message, &endpoint) {
            self.end_run();
            self.pass_up(message, endpoint);
            return;
        }
        let Some(run) = &mut self.run else {
            return;
        };
        if self.now >= run.session.expires_at {
            self.shared.drops.count(Drop::ExpiredSession, 1);
            return;
        }
        match run.session.open(message) {
            Err(drop) => self.shared.drops.count(drop, 1),
            Ok(length) => {
                run.length += message.len() as u64;
                run.is_data |= length > 0;
                let (start, lane) = (place.start + DATA_HEADER_LENGTH, run.lane);
                self.deliver(buffer, start..start + length, lane, deliver);
            }
        }
    }

    /// Go on with the run that a message is of, a new one perhaps.
    ///
    /// Return whether there is one: the message is a data message of a known session.
    fn find_run(&mut self, message: &[u8], endpoint: &Endpoint) -> bool {
        if message.len() < DATA_OVERHEAD || message[..4] != MESSAGE_DATA.to_le_bytes() {
            return false;
        }
        let index = u32::from_le_bytes(message[4..8].try_into().expect("it has 4 bytes"));
        let is_same = |run: &Run| run.session.local_index == index && run.endpoint == *endpoint;
        if self.run.as_ref().is_some_and(is_same) {
            return true;
        }
        let Some((session, lane)) = self.table.session(index) else {
            return false;
        };
        let (session, lane) = (session.clone(), *lane);
        self.end_run();
        self.run = Some(Run {
            session,
            lane,
            endpoint: *endpoint,
            length: 0,
            is_data: false,
        });
        true
    }

    fn end_run(&mut self) {
        let Some(run) = self.run.take().filter(|run| run.length > 0) else {
            // There was none, or no message of it was authentic.
            return;
        };
        let lane = self.table.lanes.get(&run.lane);
        let is_known =
            lane.is_some_and(|lane| [lane.endpoint, lane.second].contains(&Some(run.endpoint)));
        if !is_known {
            self.changes.moved.push((run.lane, run.endpoint));
        }
        let is_first = !run.session.is_noted.swap(true, Relaxed);
        if is_first {
            let confirmed = (run.lane, run.session.clone());
            self.changes.confirmed.push(confirmed);
        }
        let note = Note {
            lane: run.lane,
            heard: Some((run.session, run.endpoint)),
            length: run.length,
            is_data: run.is_data,
            at: self.now,
        };
        let is_news = self.shared.up().note(note, !is_known);
        self.is_urgent |= is_first || is_news;
    }

    /// Hand over a packet that is whole and really the peer's, without padding.
    fn deliver(
        &mut self,
        buffer: &[u8],
        place: Range<usize>,
        lane: LaneId,
        deliver: &mut impl FnMut(&[u8], Range<usize>),
    ) {
        if place.is_empty() {
            return;
        }
        let packet = &buffer[place.clone()];
        let length = match self.genuine_length(lane, packet) {
            Ok(length) => length,
            Err(drop) => {
                self.shared.drops.count(drop, 1);
                return;
            }
        };
        let packet = &packet[..length];
        if self.is_to_be_judged(packet) {
            let peer = self.table.peer_from(packet);
            self.unjudged.push((peer, packet.to_vec()));
            return;
        }
        if self.table.is_owners_echo(packet) {
            self.shared.up().push_echo(packet.to_vec());
            self.is_urgent = true;
            return;
        }
        deliver(buffer, place.start..place.start + length);
    }

    fn is_to_be_judged(&self, packet: &[u8]) -> bool {
        let is_behind = self.keeps_order && !self.unjudged.is_empty();
        let inbound = Direction::Inbound;
        is_behind || self.table.is_to_be_judged(packet, inbound, self.now)
    }

    /// Return the length of a packet without padding.
    fn genuine_length(&mut self, lane: LaneId, packet: &[u8]) -> Result<usize, Drop> {
        let (source, destination) = addresses(packet).ok_or(Drop::InvalidPacket)?;
        let length = stated_length(packet);
        if length > packet.len() || length < IPV4_HEADER_LENGTH {
            return Err(Drop::InvalidPacket);
        }
        let mut ends = [0; 32];
        ends[..source.len()].copy_from_slice(source);
        ends[16..16 + destination.len()].copy_from_slice(destination);
        // What was found of these addresses holds while the table is not changed.
        let flow = Some((lane, source.len(), ends));
        if flow != self.flow {
            if !self.table.may_come(lane, source) {
                return Err(Drop::ForbiddenSource);
            }
            if !self.table.is_delivered(destination) {
                return Err(Drop::ForbiddenDestination);
            }
            self.flow = flow;
        }
        Ok(length)
    }

    fn pass_up(&mut self, datagram: &[u8], endpoint: Endpoint) {
        if self.unusual_from != Some(endpoint) {
            self.end_unusual();
            self.unusual_from = Some(endpoint);
        }
        self.unusual.push(datagram.to_vec());
    }

    fn end_unusual(&mut self) {
        if let Some(endpoint) = self.unusual_from.take() {
            let datagrams = std::mem::take(&mut self.unusual);
            self.shared.up().push_exceptions(datagrams, endpoint);
            self.is_urgent = true;
        }
    }
}
