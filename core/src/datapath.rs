//! The data path as its owner calls it: batches in, batches out.

use std::sync::{Arc, Mutex, PoisonError};

use crate::bundle::Bundle;
use crate::channel;
use crate::constants::{DATA_HEADER_LENGTH, DATA_OVERHEAD};
use crate::drops::Drop;
use crate::endpoint::Endpoint;
use crate::flows::Direction;
use crate::receiver::Receiver;
use crate::sender::{Outlet, Sender};
use crate::session::{padding_length, Session};
use crate::shared::Shared;
use crate::table::{LaneId, Table};
use crate::up::Target;

/// A data path without descriptors.
pub struct Datapath {
    pub shared: Arc<Shared>,
    sender: Mutex<Sender>,
}

impl Datapath {
    pub fn new(shared: Arc<Shared>) -> Self {
        Datapath {
            shared,
            sender: Mutex::default(),
        }
    }

    /// Take IP packets from the interface.
    pub fn receive_packets(&self, packets: &[&[u8]], now: f64) {
        let table = self.shared.table();
        let mut each = packets.iter();
        let outbound = Direction::Outbound;
        let none = !each.any(|packet| table.is_to_be_judged(packet, outbound, now));
        // None overtakes what is to be judged.
        self.send(&table, packets, none, now);
    }

    /// Take IP packets from the interface, or the owner's own, that were judged.
    pub fn send_judged(&self, packets: &[&[u8]], now: f64) {
        self.send(&self.shared.table(), packets, true, now);
    }

    /// Hand over packets from peers that were judged.
    pub fn deliver_judged(&self, packets: impl IntoIterator<Item = Vec<u8>>) {
        let table = self.shared.table();
        let mut up = self.shared.up();
        for packet in packets {
            if table.is_owners_echo(&packet) {
                up.push_echo(packet);
            } else {
                up.packets.push(packet);
            }
        }
    }

    /// Send packets if they have been judged, else have all of them judged.
    fn send(&self, table: &Table, packets: &[&[u8]], are_judged: bool, now: f64) {
        let mut sender = self.sender.lock().unwrap_or_else(PoisonError::into_inner);
        let mut outlet = Collected::default();
        for packet in packets {
            if are_judged {
                sender.take_judged(&self.shared, table, packet, now, &mut outlet);
            } else {
                sender.take_unjudged(table, packet);
            }
        }
        sender.finish(&self.shared, table, now, &mut outlet);
        let mut up = self.shared.up();
        for (lane, messages) in outlet.messages {
            up.push_outgoing(Target::Lane(lane), messages);
        }
        up.packets.extend(outlet.answers);
    }

    /// Take datagrams that arrived together from one endpoint, in their order.
    pub fn receive_datagrams<'a>(
        &self,
        datagrams: impl IntoIterator<Item = &'a [u8]>,
        endpoint: Endpoint,
        now: f64,
    ) {
        let table = self.shared.table();
        let mut receiver = Receiver::new(&self.shared, &table, now);
        receiver.keep_order();
        let mut packets = Vec::new();
        for datagram in datagrams {
            let mut buffer = datagram.to_vec();
            let length = buffer.len();
            receiver.take(&mut buffer, 0..length, endpoint, &mut |buffer, place| {
                packets.push(buffer[place].to_vec());
            });
        }
        receiver.finish();
        self.shared.up().packets.extend(packets);
    }

    /// Send the owner's packets in a lane, empty ones as keepalives.
    ///
    /// Return how many of them, and the bytes of their messages.
    pub fn seal(&self, lane: LaneId, packets: &[&[u8]], now: f64) -> (usize, usize) {
        let table = self.shared.table();
        let known = table.lanes.get(&lane);
        let Some(session) = known.and_then(|lane| lane.sealing(now)) else {
            return (0, 0);
        };
        let sealed = packets.iter();
        let sealed = sealed.map_while(|packet| message(session, packet, table.mtu));
        self.push(Target::Lane(lane), sealed.collect())
    }

    /// Send a keepalive of the lane's session to an endpoint that is not its own.
    ///
    /// Return the bytes of its message.
    pub fn seal_to(&self, lane: LaneId, endpoint: Endpoint, now: f64) -> usize {
        let table = self.shared.table();
        let session = table
            .lanes
            .get(&lane)
            .and_then(|lane| lane.session.as_ref());
        let sealed = session
            .filter(|session| session.seals(now))
            .and_then(|session| message(session, b"", table.mtu));
        self.push(Target::Elsewhere(endpoint), sealed.into_iter().collect())
            .1
    }

    /// Send a message of the owner's.
    pub fn send_message(&self, target: Target, message: Vec<u8>) {
        self.push(target, vec![message]);
    }

    /// Return what has to go to the network, and forget it.
    pub fn datagrams_to_send(&self) -> Vec<(Endpoint, Vec<Vec<u8>>)> {
        let table = self.shared.table();
        let outgoing = self.shared.up().take_outgoing();
        let mut ready = Vec::new();
        for (target, messages) in outgoing {
            let (first, second) = match target {
                Target::Elsewhere(endpoint) => (Some(endpoint), None),
                Target::Lane(id) => match table.lanes.get(&id) {
                    Some(lane) => (lane.endpoint, lane.second),
                    None => (None, None),
                },
            };
            let Some(first) = first else {
                self.shared.drops.count(Drop::NoEndpoint, messages.len());
                continue;
            };
            let copy = second.map(|second| addressed(&table, second, messages.clone()));
            ready.push(addressed(&table, first, messages));
            ready.extend(copy);
        }
        ready
    }

    /// Return what has to go to the interface, and forget it.
    pub fn packets_to_write(&self) -> Vec<Vec<u8>> {
        std::mem::take(&mut self.shared.up().packets)
    }

    fn push(&self, target: Target, messages: Vec<Vec<u8>>) -> (usize, usize) {
        let done = (messages.len(), messages.iter().map(Vec::len).sum());
        if !messages.is_empty() {
            self.shared.up().push_outgoing(target, messages);
        }
        done
    }
}

/// Keeps what would be sent.
#[derive(Default)]
struct Collected {
    messages: Vec<(LaneId, Vec<Vec<u8>>)>,
    answers: Vec<Vec<u8>>,
}

impl Outlet for Collected {
    fn send(&mut self, _: &Table, bundle: &mut Bundle) {
        let lane = bundle.lane;
        let found = self.messages.iter().position(|(other, _)| *other == lane);
        let place = found.unwrap_or_else(|| {
            self.messages.push((lane, Vec::new()));
            self.messages.len() - 1
        });
        self.messages[place]
            .1
            .extend(bundle.messages().map(<[u8]>::to_vec));
    }

    fn answer(&mut self, packet: Vec<u8>) {
        self.answers.push(packet);
    }
}

/// Return a packet as a message, `None` if the session's counter has ended.
fn message(session: &Session, packet: &[u8], mtu: usize) -> Option<Vec<u8>> {
    let padded = packet.len() + padding_length(packet.len(), mtu);
    let mut message = vec![0; padded + DATA_OVERHEAD];
    message[DATA_HEADER_LENGTH..DATA_HEADER_LENGTH + packet.len()].copy_from_slice(packet);
    session.seal(&mut message).then_some(message)
}

/// Return messages as they go to an endpoint: through its channel, if it has one.
fn addressed(
    table: &Table,
    endpoint: Endpoint,
    messages: Vec<Vec<u8>>,
) -> (Endpoint, Vec<Vec<u8>>) {
    let way = table.way_to(endpoint);
    let Some(number) = way.channel else {
        return (endpoint, messages);
    };
    let wrapped = messages.into_iter().map(|message| {
        let mut wrapped = vec![0; channel::HEADER_LENGTH];
        wrapped.extend(message);
        channel::write_header(&mut wrapped, number);
        wrapped
    });
    (way.to, wrapped.collect())
}
