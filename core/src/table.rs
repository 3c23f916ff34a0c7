//! What the data path was told: lanes, sessions, networks and channels.

use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasherDefault, Hasher};
use std::net::IpAddr;
use std::sync::Arc;

use crate::constants::MAX_PACKET;
use crate::endpoint::{Endpoint, Source, UDP};
use crate::flows::{Direction, Flows};
use crate::networks::Networks;
use crate::packet::{addresses, echo_reply_identifier};
use crate::session::Session;

pub type LaneId = u32;

/// Where the packets of one peer go, and under which session.
pub struct Lane {
    pub session: Option<Arc<Session>>,
    pub endpoint: Option<Endpoint>,
    /// Where a copy of each message goes as well, while the endpoint is in doubt.
    pub second: Option<Endpoint>,
    /// Bytes of the longest packet that gets through.
    pub longest: usize,
    /// Whether the peer may pass on what other peers sent.
    pub forwards: bool,
    /// From which lane of a hub the packets of this peer are taken as well.
    pub via: Option<LaneId>,
}

impl Lane {
    fn new() -> Self {
        Lane {
            session: None,
            endpoint: None,
            second: None,
            longest: MAX_PACKET,
            forwards: false,
            via: None,
        }
    }

    /// Return the session with which packets are sealed now, if they can go anywhere.
    pub fn sealing(&self, now: f64) -> Option<&Arc<Session>> {
        let session = self.session.as_ref()?;
        (self.endpoint.is_some() && session.seals(now)).then_some(session)
    }
}

/// How a message goes to an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Way {
    /// Where the datagram goes: the endpoint, or the relay that has a channel to it.
    pub to: Endpoint,
    /// The channel, if the message is wrapped.
    pub channel: Option<u16>,
}

/// Everything that was told.
pub struct Table {
    pub is_up: bool,
    pub mtu: usize,
    pub lanes: ById<Lane>,
    pub networks: Networks<LaneId>,
    pub echo_identifiers: HashSet<u16>,
    /// Whether what is for other peers is taken, too.
    pub forwards: bool,
    /// What passes the filter of the owner, if it has one.
    pub flows: Option<Flows>,
    delivered: Networks<()>,
    /// Which of the lanes below may send what has its source in a network.
    speakers: Networks<usize>,
    spoken_by: Vec<Vec<LaneId>>,
    last_lane: LaneId,
    sessions: ById<(Arc<Session>, LaneId)>,
    /// Channels both ways: by relayed address, and by server and number.
    channels: HashMap<Endpoint, (Endpoint, u16)>,
    relays: HashMap<(IpAddr, u16), HashMap<u16, Endpoint>>,
    /// From where else than from its source an endpoint is sent to.
    sources: HashMap<Endpoint, Option<Source>>,
}

impl Table {
    pub fn new(mtu: usize) -> Self {
        let mut table = Table {
            is_up: false,
            mtu,
            lanes: ById::default(),
            networks: Networks::new(),
            echo_identifiers: HashSet::new(),
            forwards: false,
            flows: None,
            delivered: Networks::new(),
            speakers: Networks::new(),
            spoken_by: Vec::new(),
            last_lane: 0,
            sessions: ById::default(),
            channels: HashMap::new(),
            relays: HashMap::new(),
            sources: HashMap::new(),
        };
        let everything = [IpAddr::from([0u8; 4]), IpAddr::from([0u8; 16])];
        table.deliver_only(everything.map(|address| (address, 0)), false);
        table
    }

    pub fn add_lane(&mut self) -> LaneId {
        self.last_lane += 1;
        self.lanes.insert(self.last_lane, Lane::new());
        self.last_lane
    }

    pub fn add_session(&mut self, lane: LaneId, session: Arc<Session>) {
        self.sessions.insert(session.local_index, (session, lane));
    }

    /// Forget a session, unless another has its index by now.
    pub fn remove_session(&mut self, session: &Session) {
        if let Some((known, _)) = self.sessions.get(&session.local_index) {
            if known.id == session.id {
                self.sessions.remove(&session.local_index);
            }
        }
    }

    pub fn session(&self, index: u32) -> Option<&(Arc<Session>, LaneId)> {
        self.sessions.get(&index)
    }

    /// Take what has its source in a network from any of these lanes.
    pub fn accept_from(&mut self, networks: impl IntoIterator<Item = (IpAddr, u32, Vec<LaneId>)>) {
        self.speakers = Networks::new();
        self.spoken_by.clear();
        for (address, length, lanes) in networks {
            let place = self.spoken_by.len();
            self.speakers.insert(address, length, place);
            self.spoken_by.push(lanes);
        }
    }

    /// Take from peers only what is for these networks.
    pub fn deliver_only(
        &mut self,
        networks: impl IntoIterator<Item = (IpAddr, u32)>,
        members: bool,
    ) {
        self.forwards = members;
        self.delivered = Networks::new();
        for (address, length) in networks {
            self.delivered.insert(address, length, ());
        }
    }

    /// Return whether a packet of a lane's peer may have that source.
    pub fn may_come(&self, lane: LaneId, source: &[u8]) -> bool {
        match self.networks.lookup(source) {
            None => false,
            Some(owner) if owner == lane => true,
            Some(owner) => {
                let forwards = self.lanes.get(&lane).is_some_and(|hub| hub.forwards);
                let via = self.lanes.get(&owner).and_then(|peer| peer.via);
                (forwards && via == Some(lane)) || self.is_spoken_for(lane, source)
            }
        }
    }

    fn is_spoken_for(&self, lane: LaneId, source: &[u8]) -> bool {
        self.speakers
            .lookup(source)
            .is_some_and(|place| self.spoken_by[place].contains(&lane))
    }

    /// Return whether what is for that destination is taken.
    pub fn is_delivered(&self, destination: &[u8]) -> bool {
        self.delivered.lookup(destination).is_some()
            || (self.forwards && self.networks.lookup(destination).is_some())
    }

    /// Return the lane of the peer that a packet is from, whichever lane it came by.
    pub fn peer_from(&self, packet: &[u8]) -> Option<LaneId> {
        addresses(packet).and_then(|(source, _)| self.networks.lookup(source))
    }

    /// Return the lane of the peer that a packet is for.
    pub fn peer_to(&self, packet: &[u8]) -> Option<LaneId> {
        addresses(packet).and_then(|(_, destination)| self.networks.lookup(destination))
    }

    /// Return whether a packet is a reply to an echo request of the owner's own.
    pub fn is_owners_echo(&self, packet: &[u8]) -> bool {
        let identifiers = &self.echo_identifiers;
        !identifiers.is_empty()
            && echo_reply_identifier(packet).is_some_and(|each| identifiers.contains(&each))
    }

    /// Return whether a packet has to be judged before it goes on.
    pub fn is_to_be_judged(&self, packet: &[u8], direction: Direction, now: f64) -> bool {
        let flows = self.flows.as_ref();
        flows.is_some_and(|flows| !flows.pass(packet, direction, now))
    }

    /// Reach an endpoint through a relay's channel over UDP, or not any more.
    ///
    /// Who had that channel of the relay before has it no longer.
    pub fn set_channel(&mut self, peer: Endpoint, server: Endpoint, number: Option<u16>) {
        if let Some((server, number)) = self.channels.remove(&peer) {
            let key = (server.host, server.port);
            if let Some(relay) = self.relays.get_mut(&key) {
                relay.remove(&number);
                if relay.is_empty() {
                    self.relays.remove(&key);
                }
            }
        }
        if let Some(number) = number {
            let relay = self.relays.entry((server.host, server.port)).or_default();
            if let Some(former) = relay.insert(number, peer) {
                self.channels.remove(&former);
            }
            self.channels.insert(peer, (server, number));
        }
    }

    /// Return the channels of a relay, if datagrams from there may be wrapped.
    pub fn channels_of(&self, endpoint: &Endpoint) -> Option<&HashMap<u16, Endpoint>> {
        if self.relays.is_empty() || endpoint.link != UDP || endpoint.zone != 0 {
            // What a relay unwrapped is not opened once more, whatever its address.
            return None;
        }
        self.relays.get(&(endpoint.host, endpoint.port))
    }

    /// Return how messages go to an endpoint.
    pub fn way_to(&self, endpoint: Endpoint) -> Way {
        let channel = if endpoint.link == UDP {
            None
        } else {
            self.channels.get(&endpoint)
        };
        match channel {
            Some(&(to, number)) => Way {
                to,
                channel: Some(number),
            },
            None => Way {
                to: endpoint,
                channel: None,
            },
        }
    }

    /// Send to an endpoint from elsewhere than from its source.
    pub fn set_source(&mut self, endpoint: Endpoint, source: Option<Source>) {
        if endpoint.source == source {
            self.sources.remove(&endpoint);
        } else {
            self.sources.insert(endpoint, source);
        }
    }

    /// Return from where an endpoint is sent to.
    pub fn source_of(&self, endpoint: &Endpoint) -> Option<Source> {
        if self.sources.is_empty() {
            return endpoint.source;
        }
        let elsewhere = self.sources.get(endpoint).copied();
        elsewhere.unwrap_or(endpoint.source)
    }

    /// Return all endpoints that are sent to from a source of theirs.
    pub fn pinned(&self) -> Vec<Endpoint> {
        let ends = self
            .lanes
            .values()
            .flat_map(|lane| [lane.endpoint, lane.second]);
        let servers = self.channels.values().map(|&(server, _)| Some(server));
        let mut found: Vec<_> = ends.chain(servers).flatten().collect();
        found.retain(|endpoint| endpoint.source.is_some());
        found
    }

    /// Forget from where else endpoints are sent to.
    pub fn clear_sources(&mut self) {
        self.sources.clear();
    }
}

/// A map by numbers of which nobody else chooses which are in it.
pub type ById<T> = HashMap<u32, T, BuildHasherDefault<IdHasher>>;

/// Spreads a number over the bits that a map looks at.
#[derive(Default)]
pub struct IdHasher(u64);

impl Hasher for IdHasher {
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u32(u32::from(*byte));
        }
    }

    fn write_u32(&mut self, number: u32) {
        let mixed = (self.0 ^ u64::from(number)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        self.0 = mixed ^ (mixed >> 32);
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoint(port: u16, link: i64) -> Endpoint {
        Endpoint::parse("192.0.2.1", port, link, None).unwrap()
    }

    #[test]
    fn a_hub_speaks_only_for_those_that_come_by_it() {
        let mut table = Table::new(1420);
        let (hub, peer) = (table.add_lane(), table.add_lane());
        table.networks.insert("10.0.0.2".parse().unwrap(), 32, peer);
        let source = [10, 0, 0, 2];
        assert!(table.may_come(peer, &source));
        assert!(!table.may_come(hub, &source));
        table.lanes.get_mut(&hub).unwrap().forwards = true;
        assert!(!table.may_come(hub, &source));
        table.lanes.get_mut(&peer).unwrap().via = Some(hub);
        assert!(table.may_come(hub, &source));
        assert!(!table.may_come(hub, &[10, 0, 0, 3]));
    }

    #[test]
    fn any_router_of_a_network_may_send_what_comes_from_there() {
        let mut table = Table::new(1420);
        let lanes = [table.add_lane(), table.add_lane(), table.add_lane()];
        let network: IpAddr = "10.1.0.0".parse().unwrap();
        table.networks.insert(network, 16, lanes[0]);
        let source = [10, 1, 0, 2];
        assert!(!table.may_come(lanes[1], &source));
        table.accept_from([(network, 16, vec![lanes[0], lanes[1]])]);
        let allowed = lanes.map(|lane| table.may_come(lane, &source));
        assert_eq!(allowed, [true, true, false]);
        assert!(!table.may_come(lanes[1], &[10, 2, 0, 2]));

        // A longer network is its own routers' alone.
        table.networks.insert(network, 24, lanes[2]);
        let wide = (network, 16, vec![lanes[0], lanes[1]]);
        table.accept_from([wide, (network, 24, vec![lanes[2]])]);
        assert!(!table.may_come(lanes[1], &source));
        table.accept_from([]);
        assert!(!table.may_come(lanes[1], &[10, 1, 9, 9]));
    }

    #[test]
    fn a_channel_is_found_both_ways_until_it_is_taken_back() {
        let mut table = Table::new(1420);
        let (server, peer) = (endpoint(3478, UDP), endpoint(50000, 1 << 16));
        table.set_channel(peer, server, Some(0x4001));
        let way = table.way_to(peer);
        assert_eq!((way.to, way.channel), (server, Some(0x4001)));
        assert_eq!(table.channels_of(&server).unwrap()[&0x4001], peer);
        assert!(table.channels_of(&endpoint(3478, 5)).is_none());
        table.set_channel(peer, server, None);
        assert_eq!(table.way_to(peer).to, peer);
        assert!(table.channels_of(&server).is_none());
    }

    #[test]
    fn a_channel_is_that_of_the_peer_that_had_it_last() {
        let mut table = Table::new(1420);
        let server = endpoint(3478, UDP);
        let (former, peer) = (endpoint(50000, 1 << 16), endpoint(50001, 1 << 16));
        table.set_channel(former, server, Some(0x4001));
        table.set_channel(peer, server, Some(0x4001));
        assert_eq!(table.way_to(former).to, former);
        table.set_channel(former, server, None);
        assert_eq!(table.channels_of(&server).unwrap()[&0x4001], peer);
        assert_eq!(table.way_to(peer).channel, Some(0x4001));
        table.set_channel(peer, server, None);
        assert!(table.channels_of(&server).is_none());
    }

    #[test]
    fn members_are_delivered_to_only_where_that_was_said() {
        let mut table = Table::new(1420);
        let lane = table.add_lane();
        assert!(table.is_delivered(&[192, 0, 2, 1]));
        let own: IpAddr = "10.0.0.1".parse().unwrap();
        table.networks.insert("10.0.0.2".parse().unwrap(), 32, lane);
        table.deliver_only([(own, 32)], false);
        assert!(table.is_delivered(&[10, 0, 0, 1]));
        assert!(!table.is_delivered(&[10, 0, 0, 2]));
        table.deliver_only([(own, 32)], true);
        assert!(table.is_delivered(&[10, 0, 0, 2]));
        assert!(!table.is_delivered(&[192, 0, 2, 1]));
    }
}
