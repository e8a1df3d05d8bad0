//! The places of clients: how many connections exist, from where, and how many are unproved.
//!
//! Owns the counts that admission goes by. A [`Place`] is held from accepting until the socket is
//! dropped, the TLS handshake and lingering included, so whoever costs something is counted. Never
//! touches a socket. Called by `listener`, which admits, and by connections, which hold places.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::fmt;
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;

use tokio::sync::Notify;

use crate::config::Settings;
use crate::conn::crossing::Crossing;
use crate::error::CloseReason;

/// All places of a node.
pub struct Places {
    crossing: Arc<Crossing>,
    freed: Rc<Notify>,
    taken: Cell<u32>,
    addresses: RefCell<HashMap<IpAddr, u32>>,
    connections_max: u32,
    unproved_max: u64,
    per_address_max: u32,
}

impl Places {
    /// All free; `freed` is told whenever one becomes free again.
    #[must_use]
    pub fn new(settings: &Settings, crossing: Arc<Crossing>, freed: Rc<Notify>) -> Self {
        Self {
            crossing,
            freed,
            taken: Cell::new(0),
            addresses: RefCell::default(),
            connections_max: settings.connections_max,
            unproved_max: u64::from(settings.connections_unproved_max),
            per_address_max: settings.connections_per_address_max,
        }
    }

    /// Whether one more connection may exist.
    #[must_use]
    pub fn has_one(&self) -> bool {
        self.taken.get() < self.connections_max
    }

    /// The place of a client from `address`, who proved nothing yet.
    ///
    /// # Errors
    /// Why he gets none: too many without a token, or too many of this address.
    pub fn take(self: &Rc<Self>, address: IpAddr) -> Result<Place, CloseReason> {
        let unproved = &self.crossing.stats.connections_unproved;
        if unproved.get() >= self.unproved_max {
            return Err(CloseReason::ServerFull);
        }
        self.count_address(address)?;
        unproved.add(1);
        self.taken.set(self.taken.get() + 1);
        Ok(Place {
            places: Rc::clone(self),
            address,
            since_ns: self.crossing.now_ns(),
            unproved: Cell::new(true),
        })
    }

    fn count_address(&self, address: IpAddr) -> Result<(), CloseReason> {
        let mut addresses = self.addresses.borrow_mut();
        let count = addresses.entry(address).or_default();
        if self.per_address_max > 0 && *count >= self.per_address_max {
            return Err(CloseReason::AddressLimit);
        }
        *count += 1;
        Ok(())
    }

    fn forget_address(&self, address: IpAddr) {
        let mut addresses = self.addresses.borrow_mut();
        if let Some(count) = addresses.get_mut(&address) {
            *count -= 1;
            if *count == 0 {
                addresses.remove(&address);
            }
        }
    }
}

/// One client's place; dropping it gives everything back.
pub struct Place {
    places: Rc<Places>,
    address: IpAddr,
    since_ns: u64,
    unproved: Cell<bool>,
}

impl Place {
    /// What the client's connections are counted under.
    #[must_use]
    pub fn address(&self) -> IpAddr {
        self.address
    }

    /// When the client came; from then on his time to prove himself runs.
    #[must_use]
    pub fn since_ns(&self) -> u64 {
        self.since_ns
    }

    /// Keeps the number of clients without a token.
    pub fn set_unproved(&self, unproved: bool) {
        let count = &self.places.crossing.stats.connections_unproved;
        match (self.unproved.replace(unproved), unproved) {
            (true, false) => count.set(count.get() - 1),
            (false, true) => count.add(1),
            _ => {}
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.set_unproved(false);
        self.places.forget_address(self.address);
        self.places.taken.set(self.places.taken.get() - 1);
        self.places.freed.notify_waiters();
    }
}

impl fmt::Debug for Place {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Place({})", self.address)
    }
}
