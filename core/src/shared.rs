//! What the threads of a data path and its owner have in common.

use std::sync::{Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use crate::drops::Drops;
use crate::receiver::Changes;
use crate::system::event::Event;
use crate::table::Table;
use crate::up::{Trouble, Up};

/// The state of a data path.
///
/// Whoever needs both locks takes that of the table first.
pub struct Shared {
    pub drops: Drops,
    /// Becomes readable when the owner should look at what has come up.
    pub bell: Event,
    /// Whether lanes follow the endpoint of the last authentic message.
    pub roaming: bool,
    table: RwLock<Table>,
    up: Mutex<Up>,
}

impl Shared {
    pub fn new(mtu: usize, roaming: bool) -> std::io::Result<Self> {
        Ok(Shared {
            drops: Drops::default(),
            bell: Event::new()?,
            roaming,
            table: RwLock::new(Table::new(mtu)),
            up: Mutex::new(Up::default()),
        })
    }

    // A thread that has panicked leaves both as they were: nothing is half done in them.

    pub fn table(&self) -> RwLockReadGuard<'_, Table> {
        self.table.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn table_to_change(&self) -> RwLockWriteGuard<'_, Table> {
        self.table.write().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn up(&self) -> MutexGuard<'_, Up> {
        self.up.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Send to lanes where they were heard from, and with the sessions they have.
    ///
    /// The owner will say the same once it has read its notes.
    pub fn follow(&self, changes: Changes) {
        let moves = self.roaming && !changes.moved.is_empty();
        if !moves && changes.confirmed.is_empty() {
            return;
        }
        let mut table = self.table_to_change();
        for (lane, session) in changes.confirmed {
            if let Some(lane) = table.lanes.get_mut(&lane) {
                // Those that this side began are used from the beginning.
                if lane
                    .session
                    .as_ref()
                    .is_none_or(|used| used.id < session.id)
                {
                    lane.session = Some(session);
                }
            }
        }
        for (lane, endpoint) in changes.moved.into_iter().filter(|_| moves) {
            if let Some(lane) = table.lanes.get_mut(&lane) {
                (lane.endpoint, lane.second) = (Some(endpoint), None);
            }
        }
    }

    /// Tell the owner of trouble.
    pub fn tell(&self, trouble: Trouble) {
        if self.up().push_trouble(trouble) {
            self.bell.ring();
        }
    }
}
