//! Longest-prefix match from addresses to whatever belongs to a network.

use std::collections::HashMap;
use std::net::IpAddr;

/// The networks of both address families. A network belongs to one owner at a time.
pub struct Networks<T> {
    ipv4: Prefixes<T>,
    ipv6: Prefixes<T>,
}

/// The prefixes of one address family, by length, the longest first.
struct Prefixes<T>(Vec<(u32, HashMap<u128, T>)>);

impl<T: Copy> Networks<T> {
    pub fn new() -> Self {
        Networks {
            ipv4: Prefixes(Vec::new()),
            ipv6: Prefixes(Vec::new()),
        }
    }

    /// Give a network to an owner; another that had it loses it.
    pub fn insert(&mut self, address: IpAddr, length: u32, owner: T) {
        let (prefixes, number, bits) = self.of(address);
        prefixes.insert(bits.saturating_sub(length), number, owner);
    }

    pub fn remove(&mut self, address: IpAddr, length: u32) {
        let (prefixes, number, bits) = self.of(address);
        prefixes.remove(bits.saturating_sub(length), number);
    }

    /// Return the owner of an address of 4 or 16 bytes in network order.
    pub fn lookup(&self, address: &[u8]) -> Option<T> {
        if let Ok(bytes) = <[u8; 4]>::try_from(address) {
            self.ipv4.lookup(u32::from_be_bytes(bytes).into())
        } else if let Ok(bytes) = <[u8; 16]>::try_from(address) {
            self.ipv6.lookup(u128::from_be_bytes(bytes))
        } else {
            None
        }
    }

    fn of(&mut self, address: IpAddr) -> (&mut Prefixes<T>, u128, u32) {
        match address {
            IpAddr::V4(address) => (&mut self.ipv4, u32::from(address).into(), 32),
            IpAddr::V6(address) => (&mut self.ipv6, address.into(), 128),
        }
    }
}

impl<T: Copy> Default for Networks<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T: Copy> Prefixes<T> {
    fn lookup(&self, address: u128) -> Option<T> {
        self.0
            .iter()
            .find_map(|(shift, owners)| owners.get(&shifted(address, *shift)))
            .copied()
    }

    fn insert(&mut self, shift: u32, address: u128, owner: T) {
        let place = self.0.partition_point(|&(other, _)| other < shift);
        if self.0.get(place).is_none_or(|&(other, _)| other != shift) {
            self.0.insert(place, (shift, HashMap::new()));
        }
        self.0[place].1.insert(shifted(address, shift), owner);
    }

    fn remove(&mut self, shift: u32, address: u128) {
        if let Some((_, owners)) = self.0.iter_mut().find(|(other, _)| *other == shift) {
            owners.remove(&shifted(address, shift));
        }
        self.0.retain(|(_, owners)| !owners.is_empty());
    }
}

fn shifted(address: u128, shift: u32) -> u128 {
    address.checked_shr(shift).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn networks(entries: &[(&str, u32, u32)]) -> Networks<u32> {
        let mut networks = Networks::new();
        for &(address, length, owner) in entries {
            networks.insert(address.parse().unwrap(), length, owner);
        }
        networks
    }

    fn find(networks: &Networks<u32>, address: &str) -> Option<u32> {
        match address.parse().unwrap() {
            IpAddr::V4(address) => networks.lookup(&address.octets()),
            IpAddr::V6(address) => networks.lookup(&address.octets()),
        }
    }

    #[test]
    fn the_longest_prefix_wins() {
        let networks = networks(&[
            ("0.0.0.0", 0, 1),
            ("10.0.0.0", 8, 2),
            ("10.1.0.0", 16, 3),
            ("10.1.2.3", 32, 4),
            ("::", 0, 5),
            ("fd00::", 8, 6),
            ("fd00::1", 128, 7),
        ]);
        for (address, owner) in [
            ("192.0.2.1", 1),
            ("10.9.9.9", 2),
            ("10.1.9.9", 3),
            ("10.1.2.3", 4),
            ("2001:db8::1", 5),
            ("fd00::2", 6),
            ("fd00::1", 7),
        ] {
            assert_eq!(find(&networks, address), Some(owner), "{address}");
        }
    }

    #[test]
    fn a_network_that_is_given_away_or_removed_is_gone() {
        let mut networks = networks(&[("10.0.0.0", 8, 1), ("10.0.0.0", 8, 2)]);
        assert_eq!(find(&networks, "10.0.0.1"), Some(2));
        networks.remove("10.0.0.0".parse().unwrap(), 8);
        networks.remove("10.0.0.0".parse().unwrap(), 8);
        assert_eq!(find(&networks, "10.0.0.1"), None);
        assert_eq!(networks.lookup(b"short"), None);
    }
}
