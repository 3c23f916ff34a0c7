//! From the interface to the network: packets become messages.

use std::collections::HashSet;
use std::sync::Arc;

use crate::bundle::Bundle;
use crate::channel;
use crate::drops::Drop;
use crate::flows::Direction;
use crate::packet::{addresses, version};
use crate::segment::Segments;
use crate::session::Session;
use crate::shared::Shared;
use crate::table::{Lane, LaneId, Table};
use crate::toobig::{fragments, too_big, IPV6_MINIMUM};
use crate::up::Note;

/// Bundles that are filled at the same time, each for another lane.
const MAX_OPEN: usize = 16;

/// Where full bundles go, and answers to packets that were too long.
pub trait Outlet {
    fn send(&mut self, table: &Table, bundle: &mut Bundle);
    fn answer(&mut self, packet: Vec<u8>);
}

/// Seals packets, and puts together what leaves together.
pub struct Sender {
    open: Vec<Bundle>,
    spare: Vec<Bundle>,
    carried: Vec<(LaneId, u64)>,
    unsent: Vec<(LaneId, Vec<Vec<u8>>)>,
    unjudged: Vec<(Option<LaneId>, Vec<u8>)>,
    told: HashSet<Vec<u8>>,
    /// Where the last packet went.
    last: Option<Route>,
}

/// Where packets to a destination go, for as long as the table is not changed.
struct Route {
    destination: [u8; 16],
    length: usize,
    lane: LaneId,
    session: Option<Arc<Session>>,
    room: usize,
    longest: usize,
}

impl Sender {
    pub fn new() -> Self {
        Sender {
            open: Vec::new(),
            spare: Vec::new(),
            carried: Vec::new(),
            unsent: Vec::new(),
            unjudged: Vec::new(),
            told: HashSet::new(),
            last: None,
        }
    }

    /// Take a packet.
    pub fn take(
        &mut self,
        shared: &Shared,
        table: &Table,
        packet: &[u8],
        now: f64,
        outlet: &mut impl Outlet,
    ) {
        let Some(route) = self.route(table, packet, now) else {
            self.take_lost(shared, table, packet, now);
            return;
        };
        if table.is_to_be_judged(packet, Direction::Outbound, now) {
            self.unjudged.push((Some(route.lane), packet.to_vec()));
        } else {
            self.take_passing(shared, table, packet, &route, outlet);
        }
        self.last = Some(route);
    }

    /// Take a packet that is to be judged.
    pub fn take_unjudged(&mut self, table: &Table, packet: &[u8]) {
        if table.is_up {
            self.unjudged.push((table.peer_to(packet), packet.to_vec()));
        }
    }

    /// Take a packet that leads nowhere. It is judged as well: its sender may be told at once.
    fn take_lost(&mut self, shared: &Shared, table: &Table, packet: &[u8], now: f64) {
        if table.is_to_be_judged(packet, Direction::Outbound, now) {
            self.take_unjudged(table, packet);
        } else {
            shared.drops.count(Drop::NoPeer, 1);
        }
    }

    /// Take a packet that has been judged.
    pub fn take_judged(
        &mut self,
        shared: &Shared,
        table: &Table,
        packet: &[u8],
        now: f64,
        outlet: &mut impl Outlet,
    ) {
        match self.route(table, packet, now) {
            Some(route) => {
                self.take_passing(shared, table, packet, &route, outlet);
                self.last = Some(route);
            }
            None => shared.drops.count(Drop::NoPeer, 1),
        }
    }

    fn take_passing(
        &mut self,
        shared: &Shared,
        table: &Table,
        packet: &[u8],
        route: &Route,
        outlet: &mut impl Outlet,
    ) {
        if packet.len() > route.longest && route.longest < table.mtu {
            let longest = longest_of(packet, route);
            if packet.len() > longest {
                self.take_too_long(shared, table, packet, route, outlet);
                return;
            }
        }
        let write = |text: &mut [u8]| text.copy_from_slice(packet);
        self.seal(table, route, packet.len(), write, outlet);
    }

    /// Take the packets of a superpacket.
    pub fn take_segments(
        &mut self,
        shared: &Shared,
        table: &Table,
        segments: &Segments,
        now: f64,
        outlet: &mut impl Outlet,
    ) {
        let Some(route) = self.route(table, segments.headers(), now) else {
            each_segment(segments, |packet| {
                self.take_lost(shared, table, packet, now)
            });
            return;
        };
        // The last of them may be one to be judged by itself, as their headers are then.
        let is_too_long = segments.length(0) > route.longest && route.longest < table.mtu;
        if is_too_long || table.is_to_be_judged(segments.headers(), Direction::Outbound, now) {
            self.last = Some(route);
            each_segment(segments, |packet| {
                self.take(shared, table, packet, now, outlet)
            });
            return;
        }
        for index in 0..segments.count {
            let length = segments.length(index);
            let write = |text: &mut [u8]| segments.write(index, text);
            self.seal(table, &route, length, write, outlet);
        }
        self.send_if_ample(table, route.lane, outlet);
        self.last = Some(route);
    }

    /// Send a lane's bundle that holds a lot, while that is in the processor's caches.
    ///
    /// What other lanes send meanwhile would displace it from there.
    fn send_if_ample(&mut self, table: &Table, lane: LaneId, outlet: &mut impl Outlet) {
        let found = self.open.iter().position(|each| each.lane == lane);
        let Some(place) = found.filter(|&place| self.open[place].is_ample()) else {
            return;
        };
        let mut bundle = self.open.remove(place);
        outlet.send(table, &mut bundle);
        self.spare.push(bundle);
    }

    /// Send what is put together, and note what was carried.
    pub fn finish(&mut self, shared: &Shared, table: &Table, now: f64, outlet: &mut impl Outlet) {
        for mut bundle in self.open.drain(..) {
            outlet.send(table, &mut bundle);
            self.spare.push(bundle);
        }
        self.last = None;
        self.told.clear();
        if self.carried.is_empty() && self.unsent.is_empty() && self.unjudged.is_empty() {
            return;
        }
        let mut up = shared.up();
        if !self.unjudged.is_empty() {
            up.push_unjudged(self.unjudged.drain(..), Direction::Outbound, now);
            shared.bell.ring();
        }
        for (lane, packets) in self.unsent.drain(..) {
            up.push_unsent(lane, packets, now);
            shared.bell.ring();
        }
        for (lane, length) in self.carried.drain(..) {
            let note = Note {
                lane,
                heard: None,
                length,
                is_data: true,
                at: now,
            };
            up.note(note, false);
        }
    }

    /// Return where a packet goes; whoever is done with that keeps it as the last route.
    fn route(&mut self, table: &Table, packet: &[u8], now: f64) -> Option<Route> {
        let (_, destination) = addresses(packet)?;
        let length = destination.len();
        if let Some(last) = self.last.take() {
            if last.length == length && last.destination[..length] == *destination {
                return Some(last);
            }
        }
        if !table.is_up {
            return None;
        }
        let id = table.networks.lookup(destination)?;
        let lane = table.lanes.get(&id)?;
        let mut route = Route {
            destination: [0; 16],
            length,
            lane: id,
            session: lane.sealing(now).cloned(),
            room: room_for(table, lane),
            longest: lane.longest,
        };
        route.destination[..length].copy_from_slice(destination);
        Some(route)
    }

    fn seal(
        &mut self,
        table: &Table,
        route: &Route,
        length: usize,
        write: impl Fn(&mut [u8]),
        outlet: &mut impl Outlet,
    ) {
        let sealed = route.session.as_ref().and_then(|session| {
            let bundle = self.bundle(table, route, length, outlet)?;
            bundle.seal(session, length, table.mtu, &write)
        });
        match sealed {
            Some(size) => add_to(&mut self.carried, route.lane, size as u64),
            None => {
                let mut packet = vec![0; length];
                write(&mut packet);
                self.keep(route.lane, packet);
            }
        }
    }

    /// Return the bundle that takes a packet of that length; no packet is too long.
    fn bundle(
        &mut self,
        table: &Table,
        route: &Route,
        length: usize,
        outlet: &mut impl Outlet,
    ) -> Option<&mut Bundle> {
        let found = self.open.iter().position(|each| each.lane == route.lane);
        let place = match found {
            Some(place) => {
                if !self.open[place].takes(length, table.mtu) {
                    outlet.send(table, &mut self.open[place]);
                    self.open[place].begin(route.lane, route.room);
                }
                place
            }
            None => {
                if self.open.len() >= MAX_OPEN {
                    let mut oldest = self.open.remove(0);
                    outlet.send(table, &mut oldest);
                    self.spare.push(oldest);
                }
                let mut bundle = self.spare.pop().unwrap_or_default();
                bundle.begin(route.lane, route.room);
                self.open.push(bundle);
                self.open.len() - 1
            }
        };
        let bundle = &mut self.open[place];
        bundle.takes(length, table.mtu).then_some(bundle)
    }

    /// Fragment a packet, or tell its sender how long packets may be.
    fn take_too_long(
        &mut self,
        shared: &Shared,
        table: &Table,
        packet: &[u8],
        route: &Route,
        outlet: &mut impl Outlet,
    ) {
        if let Some(parts) = fragments(packet, route.longest) {
            for part in parts {
                let write = |text: &mut [u8]| text.copy_from_slice(&part);
                self.seal(table, route, part.len(), write, outlet);
            }
            return;
        }
        shared.drops.count(Drop::TooLong, 1);
        let Some((source, destination)) = addresses(packet) else {
            return;
        };
        // Each sender is told once per batch and destination: it tells its streams.
        if self.told.insert([source, destination].concat()) {
            if let Some(answer) = too_big(packet, route.longest) {
                outlet.answer(answer);
            }
        }
    }

    fn keep(&mut self, lane: LaneId, packet: Vec<u8>) {
        match self.unsent.iter_mut().find(|(other, _)| *other == lane) {
            Some((_, packets)) => packets.push(packet),
            None => self.unsent.push((lane, vec![packet])),
        }
    }
}

impl Default for Sender {
    fn default() -> Self {
        Self::new()
    }
}

fn each_segment(segments: &Segments, mut take: impl FnMut(&[u8])) {
    for index in 0..segments.count {
        let mut packet = vec![0; segments.length(index)];
        segments.write(index, &mut packet);
        take(&packet);
    }
}

/// Return how long a packet may be; no sender makes IPv6 packets shorter than the minimum.
fn longest_of(packet: &[u8], route: &Route) -> usize {
    if version(packet) == 6 {
        route.longest.max(IPV6_MINIMUM)
    } else {
        route.longest
    }
}

/// Return the room that a lane's messages need before them.
fn room_for(table: &Table, lane: &Lane) -> usize {
    let way = lane.endpoint.map(|endpoint| table.way_to(endpoint));
    match way {
        Some(way) if way.channel.is_some() => channel::HEADER_LENGTH,
        _ => 0,
    }
}

fn add_to(tallies: &mut Vec<(LaneId, u64)>, lane: LaneId, length: u64) {
    match tallies.iter_mut().rev().find(|(other, _)| *other == lane) {
        Some((_, total)) => *total += length,
        None => tallies.push((lane, length)),
    }
}
