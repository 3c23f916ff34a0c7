//! What goes up to the owner, in queues with bounds: the oldest make room.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;

use crate::endpoint::Endpoint;
use crate::flows::Direction;
use crate::session::Session;
use crate::shares::Shares;
use crate::table::LaneId;

/// Datagrams that wait to be looked at.
pub const MAX_EXCEPTIONS: usize = 1024;
/// Packets that wait for a session.
pub const MAX_UNSENT: usize = 1024;
/// Packets that wait to be judged.
pub const MAX_UNJUDGED: usize = 1024;
/// Messages that wait for a way out that the owner has.
pub const MAX_OUTGOING: usize = 4096;
/// Echo replies that wait to be looked at.
const MAX_ECHOES: usize = 256;
/// Seconds that notes may wait for more of their kind.
pub const NOTES_WAIT: f64 = 0.1;

/// Messages that were carried together.
#[derive(Clone)]
pub struct Note {
    pub lane: LaneId,
    /// Of which session and from where, if they were received.
    pub heard: Option<(Arc<Session>, Endpoint)>,
    pub length: u64,
    /// Whether there was anything but keepalives.
    pub is_data: bool,
    pub at: f64,
}

/// Where messages go when they are drained.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    Lane(LaneId),
    Elsewhere(Endpoint),
}

/// Something that has happened to a descriptor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// The interface was removed.
    TunGone,
    /// The source of this endpoint is no address of this host any more.
    Unpinned(Endpoint),
    /// A thread has panicked.
    Panic(String),
}

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct NoteKey {
    lane: LaneId,
    session: Option<u64>,
    endpoint: Option<Endpoint>,
}

/// A packet that waits to be judged, and since when.
pub type Unjudged = (Vec<u8>, Direction, f64);

/// Everything that waits for the owner.
#[derive(Default)]
pub struct Up {
    /// Whether what is carried by several calls is noted together.
    pub joins_notes: bool,
    pub exceptions: VecDeque<(Vec<Vec<u8>>, Endpoint)>,
    pub unsent: VecDeque<(LaneId, Vec<Vec<u8>>, f64)>,
    unjudged: Shares<(Direction, Option<LaneId>), Unjudged>,
    pub outgoing: VecDeque<(Target, Vec<Vec<u8>>)>,
    pub packets: Vec<Vec<u8>>,
    pub echoes: VecDeque<Vec<u8>>,
    pub troubles: Vec<Trouble>,
    /// Datagrams and packets that had to make room.
    pub overflows: u64,
    notes: Vec<Note>,
    places: HashMap<NoteKey, usize>,
    /// When the first of the notes was taken.
    noted_at: Option<f64>,
    /// Whether the owner was told that there are notes.
    is_told: bool,
    waiting_exceptions: usize,
    waiting_unsent: usize,
    waiting_outgoing: usize,
    reported: HashSet<(LaneId, Endpoint)>,
}

impl Up {
    /// Take a note; return whether it tells of a strange endpoint for the first time.
    ///
    /// An endpoint is strange if messages of its lane go elsewhere.
    pub fn note(&mut self, note: Note, is_strange: bool) -> bool {
        self.noted_at.get_or_insert(note.at);
        if !self.joins_notes {
            self.notes.push(note);
            return is_strange;
        }
        let heard = note.heard.as_ref();
        let key = NoteKey {
            lane: note.lane,
            session: heard.map(|(session, _)| session.id),
            endpoint: heard.map(|&(_, endpoint)| endpoint),
        };
        let is_news = is_strange
            && key
                .endpoint
                .is_some_and(|endpoint| self.reported.insert((note.lane, endpoint)));
        match self.places.get(&key) {
            Some(&place) => {
                let known = &mut self.notes[place];
                known.length += note.length;
                known.is_data |= note.is_data;
                known.at = note.at;
            }
            None => {
                self.places.insert(key, self.notes.len());
                self.notes.push(note);
            }
        }
        is_news
    }

    /// Return whether there are notes that the owner does not know of.
    pub fn has_notes_to_tell(&self) -> bool {
        self.noted_at.is_some() && !self.is_told
    }

    /// Return, once, whether notes have waited long enough.
    pub fn are_notes_to_be_told(&mut self, now: f64) -> bool {
        let is_due = self.noted_at.is_some_and(|at| now >= at + NOTES_WAIT);
        is_due && self.tell_of_notes()
    }

    /// Return, once, whether there are notes, however short they have waited.
    pub fn tell_of_notes(&mut self) -> bool {
        let has_notes = self.has_notes_to_tell();
        self.is_told |= has_notes;
        has_notes
    }

    /// Return all notes in the order of their times, and forget them.
    pub fn take_notes(&mut self) -> Vec<Note> {
        self.places.clear();
        self.noted_at = None;
        self.is_told = false;
        let mut notes = std::mem::take(&mut self.notes);
        if self.joins_notes {
            notes.sort_by(|a, b| a.at.total_cmp(&b.at));
        }
        // An endpoint that is still strange may be told of again after a while.
        if self.reported.len() > MAX_EXCEPTIONS {
            self.reported.clear();
        }
        notes
    }

    /// Forget that strange endpoints of a lane were told of.
    pub fn steered(&mut self, lane: LaneId) {
        self.reported.retain(|&(other, _)| other != lane);
    }

    pub fn push_exceptions(&mut self, datagrams: Vec<Vec<u8>>, endpoint: Endpoint) {
        self.waiting_exceptions += datagrams.len();
        self.exceptions.push_back((datagrams, endpoint));
        while self.joins_notes && self.waiting_exceptions > MAX_EXCEPTIONS {
            let Some((oldest, _)) = self.exceptions.pop_front() else {
                break;
            };
            self.waiting_exceptions -= oldest.len();
            self.overflows += oldest.len() as u64;
        }
    }

    /// Return the oldest exceptions, about so many datagrams, and forget them.
    pub fn take_exceptions(&mut self, most: usize) -> Vec<(Vec<Vec<u8>>, Endpoint)> {
        let mut taken = Vec::new();
        let mut count = 0;
        while count < most {
            let Some((datagrams, endpoint)) = self.exceptions.pop_front() else {
                break;
            };
            count += datagrams.len();
            taken.push((datagrams, endpoint));
        }
        self.waiting_exceptions -= count;
        taken
    }

    pub fn push_unsent(&mut self, lane: LaneId, packets: Vec<Vec<u8>>, now: f64) {
        self.waiting_unsent += packets.len();
        self.unsent.push_back((lane, packets, now));
        while self.joins_notes && self.waiting_unsent > MAX_UNSENT {
            let Some((_, oldest, _)) = self.unsent.pop_front() else {
                break;
            };
            self.waiting_unsent -= oldest.len();
            self.overflows += oldest.len() as u64;
        }
    }

    pub fn take_unsent(&mut self) -> VecDeque<(LaneId, Vec<Vec<u8>>, f64)> {
        self.waiting_unsent = 0;
        std::mem::take(&mut self.unsent)
    }

    /// Keep packets until it is known whether they pass.
    ///
    /// :param packets: each with the lane of its peer, if it is of one: each peer has a
    /// share of the room, and of the owner's time.
    pub fn push_unjudged(
        &mut self,
        packets: impl IntoIterator<Item = (Option<LaneId>, Vec<u8>)>,
        direction: Direction,
        now: f64,
    ) {
        for (lane, packet) in packets {
            self.unjudged
                .push((direction, lane), (packet, direction, now));
            if self.joins_notes && self.unjudged.waiting() > MAX_UNJUDGED {
                self.unjudged.drop_one();
                self.overflows += 1;
            }
        }
    }

    /// Return packets that are to be judged, the oldest of each peer, and forget them.
    pub fn take_unjudged(&mut self, most: usize) -> Vec<Unjudged> {
        self.unjudged.take(most)
    }

    pub fn push_outgoing(&mut self, target: Target, messages: Vec<Vec<u8>>) {
        self.waiting_outgoing += messages.len();
        self.outgoing.push_back((target, messages));
        while self.joins_notes && self.waiting_outgoing > MAX_OUTGOING {
            let Some((_, oldest)) = self.outgoing.pop_front() else {
                break;
            };
            self.waiting_outgoing -= oldest.len();
            self.overflows += oldest.len() as u64;
        }
    }

    pub fn take_outgoing(&mut self) -> VecDeque<(Target, Vec<Vec<u8>>)> {
        self.waiting_outgoing = 0;
        std::mem::take(&mut self.outgoing)
    }

    pub fn push_echo(&mut self, packet: Vec<u8>) {
        if self.echoes.len() >= MAX_ECHOES {
            self.echoes.pop_front();
            self.overflows += 1;
        }
        self.echoes.push_back(packet);
    }

    /// Tell of trouble; return whether that is news.
    pub fn push_trouble(&mut self, trouble: Trouble) -> bool {
        let is_news = !self.troubles.contains(&trouble);
        if is_news {
            self.troubles.push(trouble);
        }
        is_news
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(lane: LaneId, at: f64) -> Note {
        Note {
            lane,
            heard: None,
            length: 32,
            is_data: false,
            at,
        }
    }

    fn endpoint(port: u16) -> Endpoint {
        Endpoint::parse("192.0.2.1", port, 0, None).unwrap()
    }

    #[test]
    fn notes_of_one_kind_are_joined_where_threads_take_them() {
        let mut up = Up {
            joins_notes: true,
            ..Up::default()
        };
        for (lane, at) in [(1, 1.0), (2, 2.0), (1, 3.0)] {
            assert!(!up.note(sent(lane, at), false));
        }
        let notes: Vec<_> = up.take_notes();
        let seen: Vec<_> = notes.iter().map(|n| (n.lane, n.length, n.at)).collect();
        assert_eq!(seen, [(2, 32, 2.0), (1, 64, 3.0)]);
        assert!(up.take_notes().is_empty());
    }

    #[test]
    fn notes_wait_a_little_and_are_told_once() {
        let mut up = Up::default();
        assert!(!up.are_notes_to_be_told(1.0));
        up.note(sent(1, 1.0), false);
        assert!(!up.are_notes_to_be_told(1.0 + NOTES_WAIT / 2.0));
        assert!(up.has_notes_to_tell());
        assert!(up.are_notes_to_be_told(1.0 + NOTES_WAIT));
        assert!(!up.are_notes_to_be_told(2.0));
        assert!(!up.has_notes_to_tell());
        up.take_notes();
        up.note(sent(1, 3.0), false);
        assert!(up.has_notes_to_tell());
        assert!(up.tell_of_notes());
        assert!(!up.tell_of_notes());
    }

    #[test]
    fn the_oldest_exceptions_make_room() {
        let mut up = Up {
            joins_notes: true,
            ..Up::default()
        };
        for port in 0..2000 {
            up.push_exceptions(vec![Vec::new()], endpoint(port));
        }
        assert_eq!(up.overflows, 2000 - MAX_EXCEPTIONS as u64);
        let first = up.take_exceptions(10);
        assert_eq!(first.len(), 10);
        assert_eq!(first[0].1, endpoint(2000 - MAX_EXCEPTIONS as u16));
        assert_eq!(up.take_exceptions(5000).len(), MAX_EXCEPTIONS - 10);
    }

    #[test]
    fn the_oldest_packets_to_be_judged_make_room() {
        let mut up = Up {
            joins_notes: true,
            ..Up::default()
        };
        let packets = (0..2000u16).map(|number| (Some(1), number.to_be_bytes().to_vec()));
        up.push_unjudged(packets, Direction::Inbound, 1.0);
        assert_eq!(up.overflows, 2000 - MAX_UNJUDGED as u64);
        let first = up.take_unjudged(10);
        assert_eq!(first.len(), 10);
        assert_eq!(first[0].0, (2000 - MAX_UNJUDGED as u16).to_be_bytes());
        assert_eq!(up.take_unjudged(5000).len(), MAX_UNJUDGED - 10);
        assert!(up.take_unjudged(1).is_empty());
    }

    #[test]
    fn nobody_takes_the_room_of_others_nor_their_turn() {
        let mut up = Up {
            joins_notes: true,
            ..Up::default()
        };
        let flood = |count| (0..count).map(|_| (Some(1), vec![1]));
        up.push_unjudged(flood(1000), Direction::Inbound, 1.0);
        up.push_unjudged([(Some(2), vec![2])], Direction::Inbound, 2.0);
        up.push_unjudged([(None, vec![3])], Direction::Outbound, 3.0);
        up.push_unjudged(flood(5000), Direction::Inbound, 4.0);
        assert_eq!(up.overflows, 6002 - MAX_UNJUDGED as u64);
        let first = up.take_unjudged(6);
        let others: Vec<_> = first.iter().filter(|each| each.0 != [1]).collect();
        assert_eq!(
            others,
            [
                &(vec![2], Direction::Inbound, 2.0),
                &(vec![3], Direction::Outbound, 3.0)
            ]
        );
    }

    #[test]
    fn trouble_is_told_once() {
        let mut up = Up::default();
        assert!(up.push_trouble(Trouble::TunGone));
        assert!(!up.push_trouble(Trouble::TunGone));
    }
}
