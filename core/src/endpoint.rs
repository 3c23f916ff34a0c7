//! Where datagrams come from and go to.

use std::net::{IpAddr, Ipv6Addr};

use crate::system::interface_index;

/// The local end that datagrams arrived at, so that answers leave from there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Source {
    pub host: IpAddr,
    /// Interface index, 0 for "any".
    pub interface: u32,
}

/// The other end, with the socket or stream that leads there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Endpoint {
    pub host: IpAddr,
    pub port: u16,
    /// The zone of an IPv6 link-local address, 0 for none.
    pub zone: u32,
    pub link: i64,
    pub source: Option<Source>,
}

/// The link of the node's own UDP sockets.
pub const UDP: i64 = 0;

impl Endpoint {
    /// Return an endpoint from its text form, in which a zone is a number after `%`.
    ///
    /// The name of an interface stands for its number.
    pub fn parse(host: &str, port: u16, link: i64, source: Option<Source>) -> Option<Endpoint> {
        let (address, zone) = host.split_once('%').unwrap_or((host, "0"));
        Some(Endpoint {
            host: address.parse().ok()?,
            port,
            zone: zone.parse().unwrap_or_else(|_| interface_index(zone)),
            link,
            source,
        })
    }

    /// Return the host's text form, with its zone.
    pub fn host_text(&self) -> String {
        match self.zone {
            0 => host_text(&self.host),
            zone => format!("{}%{zone}", host_text(&self.host)),
        }
    }

    /// Return the same endpoint without its source.
    pub fn unpinned(self) -> Endpoint {
        Endpoint {
            source: None,
            ..self
        }
    }

    pub fn is_ipv4(&self) -> bool {
        self.host.is_ipv4()
    }
}

/// Return the text form of an address that `inet_ntop` gives it.
pub fn host_text(host: &IpAddr) -> String {
    match host {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => ipv6_text(address),
    }
}

/// Glibc writes addresses that embed an IPv4 address with it in decimal.
fn ipv6_text(address: &Ipv6Addr) -> String {
    let segments = address.segments();
    let embeds = segments[..6] == [0; 6] && segments[6] != 0;
    if embeds {
        let [a, b] = segments[6].to_be_bytes();
        let [c, d] = segments[7].to_be_bytes();
        return format!("::{a}.{b}.{c}.{d}");
    }
    address.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_survive() {
        for text in [
            "192.0.2.1",
            "2001:db8::1",
            "fe80::1%7",
            "::1",
            "::ffff:1.2.3.4",
        ] {
            let endpoint = Endpoint::parse(text, 1, UDP, None).unwrap();
            assert_eq!(endpoint.host_text(), text);
        }
    }

    #[test]
    fn zones_may_be_named() {
        let zone = |text| Endpoint::parse(text, 1, UDP, None).map(|found| found.zone);
        assert_eq!(zone("fe80::1%lo"), Some(1));
        assert_eq!(zone("fe80::1%nowhere"), Some(0));
    }

    #[test]
    fn names_are_not_endpoints() {
        for text in ["", "localhost", "1.2.3", "1.2.3.4.5"] {
            assert_eq!(Endpoint::parse(text, 1, UDP, None), None);
        }
    }
}
