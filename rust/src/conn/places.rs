//! The places of clients: how many connections exist, from where and how fast, and how many are
//! unproved.
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

use crate::bucket::{Bucket, Rate};
use crate::config::Settings;
use crate::conn::crossing::Crossing;
use crate::error::CloseReason;

/// All places of a node.
pub struct Places {
    crossing: Arc<Crossing>,
    freed: Rc<Notify>,
    taken: Cell<u32>,
    addresses: RefCell<Addresses>,
    connections_max: u32,
    unproved_max: u64,
}

impl Places {
    /// All free; `freed` is told whenever one becomes free again.
    #[must_use]
    pub fn new(settings: &Settings, crossing: Arc<Crossing>, freed: Rc<Notify>) -> Self {
        Self {
            crossing,
            freed,
            taken: Cell::new(0),
            addresses: RefCell::new(Addresses::new(
                settings.connections_per_address_max,
                settings.connects_per_address_per_s_max,
                settings.connects_per_address_burst_max,
            )),
            connections_max: settings.connections_max,
            unproved_max: u64::from(settings.connections_unproved_max),
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
    /// Why he gets none: too many without a token, or too many or too fast of this address.
    pub fn take(self: &Rc<Self>, address: IpAddr) -> Result<Place, CloseReason> {
        let unproved = &self.crossing.stats.connections_unproved;
        if unproved.get() >= self.unproved_max {
            return Err(CloseReason::ServerFull);
        }
        let now_ns = self.crossing.now_ns();
        if !self.addresses.borrow_mut().take(address, now_ns) {
            return Err(CloseReason::AddressLimit);
        }
        unproved.add(1);
        self.taken.set(self.taken.get() + 1);
        Ok(Place {
            places: Rc::clone(self),
            address,
            since_ns: now_ns,
            unproved: Cell::new(true),
        })
    }
}

/// What is known of one address: how many connections it has, and how fast they came.
#[derive(Default)]
struct Origin {
    count: u32,
    connects: Bucket,
}

/// The addresses that have connections, or had more of late than they may go on with.
struct Addresses {
    origins: HashMap<IpAddr, Origin>,
    count_max: u32,
    connects: Option<Rate>,
    /// Addresses that are as good as new are forgotten when there are so many.
    forget_at: usize,
}

impl Addresses {
    /// None yet; 0 for no limit of the count or of the rate.
    fn new(count_max: u32, per_s_max: u32, burst_max: u32) -> Self {
        let rate = || Rate::new(f64::from(per_s_max), u64::from(burst_max));
        Self {
            origins: HashMap::new(),
            count_max,
            connects: (per_s_max > 0).then(rate),
            forget_at: FORGET_AT_MIN,
        }
    }

    /// Counts one more connection of `address` unless it has too many or they came too fast.
    fn take(&mut self, address: IpAddr, now_ns: u64) -> bool {
        if self.origins.len() >= self.forget_at {
            let origins = &mut self.origins;
            origins.retain(|_, known| known.count > 0 || !known.connects.is_full(now_ns));
            self.forget_at = (2 * origins.len()).max(FORGET_AT_MIN);
        }
        let origin = self.origins.entry(address).or_default();
        if self.count_max > 0 && origin.count >= self.count_max {
            return false;
        }
        if let Some(rate) = self.connects
            && !origin.connects.take(rate, 1, now_ns)
        {
            return false;
        }
        origin.count += 1;
        true
    }

    /// Counts one connection less. Who came too fast is remembered until his bucket is full.
    fn give_back(&mut self, address: IpAddr, now_ns: u64) {
        if let Some(origin) = self.origins.get_mut(&address) {
            origin.count -= 1;
            if origin.count == 0 && origin.connects.is_full(now_ns) {
                self.origins.remove(&address);
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
        let now_ns = self.places.crossing.now_ns();
        let mut addresses = self.places.addresses.borrow_mut();
        addresses.give_back(self.address, now_ns);
        drop(addresses);
        self.places.taken.set(self.places.taken.get() - 1);
        self.places.freed.notify_waiters();
    }
}

impl fmt::Debug for Place {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Place({})", self.address)
    }
}

const FORGET_AT_MIN: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND_NS: u64 = 1_000_000_000;

    #[test]
    fn attack_reconnecting_wins_no_fresh_rate() {
        let mut addresses = Addresses::new(0, 10, 5);
        let (one, other) = (IpAddr::from([192, 0, 2, 1]), IpAddr::from([192, 0, 2, 2]));
        let mut came = 0;
        for step in 0..100 {
            // A hundred tries in a second, each given up at once.
            let now_ns = SECOND_NS + step * SECOND_NS / 100;
            if addresses.take(one, now_ns) {
                came += 1;
                addresses.give_back(one, now_ns);
            }
        }
        assert_eq!(came, 5 + 9, "the burst, then ten a second");
        assert!(
            addresses.take(other, 2 * SECOND_NS),
            "others are not to blame"
        );
    }

    #[test]
    fn attack_many_addresses_are_forgotten_once_they_are_as_good_as_new() {
        let mut addresses = Addresses::new(1, 10, 5);
        let most = 3 * u32::try_from(FORGET_AT_MIN).unwrap();
        for number in 0..most {
            let address = IpAddr::from(number.to_be_bytes());
            let now_ns = SECOND_NS + u64::from(number) * SECOND_NS / 1_000;
            assert!(addresses.take(address, now_ns));
            addresses.give_back(address, now_ns);
        }
        assert!(addresses.origins.len() <= FORGET_AT_MIN);
        let kept = IpAddr::from([192, 0, 2, 1]);
        assert!(addresses.take(kept, 9 * SECOND_NS) && !addresses.take(kept, 9 * SECOND_NS));
        addresses.give_back(kept, 99 * SECOND_NS);
        assert!(!addresses.origins.contains_key(&kept));
    }

    #[test]
    fn no_limit_remembers_nobody() {
        let mut addresses = Addresses::new(0, 0, 1);
        let one = IpAddr::from([192, 0, 2, 1]);
        assert!((0..100).all(|_| addresses.take(one, 1)));
        (0..100).for_each(|_| addresses.give_back(one, 1));
        assert!(addresses.origins.is_empty());
    }
}
