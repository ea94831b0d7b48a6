//! Which addresses the server may connect to on somebody's behalf: public ones, and those that an operator allows.
//!
//! A table of our own: `IpAddr::is_global` is unstable, and crates that offer the same let translated addresses through.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

/// IANA's special-purpose registries (RFC 6890 and its updates), and what clouds answer at from inside.
const DENIED: &[IpNet] = &[
    v4([0, 0, 0, 0], 8),        // this host, this network (RFC 1122); 0.0.0.0 reaches loopback
    v4([10, 0, 0, 0], 8),       // private (RFC 1918)
    v4([100, 64, 0, 0], 10),    // shared by carriers (RFC 6598)
    v4([127, 0, 0, 0], 8),      // loopback (RFC 1122)
    v4([168, 63, 129, 16], 32), // a public address that inside Azure is the host
    v4([169, 254, 0, 0], 16),   // link-local (RFC 3927), where clouds serve credentials
    v4([172, 16, 0, 0], 12),    // private (RFC 1918)
    v4([192, 0, 0, 0], 24),     // protocol assignments (RFC 6890)
    v4([192, 0, 2, 0], 24),     // documentation (RFC 5737)
    v4([192, 88, 99, 0], 24),   // relays of 6to4 (RFC 7526)
    v4([192, 168, 0, 0], 16),   // private (RFC 1918)
    v4([198, 18, 0, 0], 15),    // benchmarking (RFC 2544)
    v4([198, 51, 100, 0], 24),  // documentation (RFC 5737)
    v4([203, 0, 113, 0], 24),   // documentation (RFC 5737)
    v4([224, 0, 0, 0], 4),      // multicast (RFC 5771)
    v4([240, 0, 0, 0], 4),      // class E (RFC 1112), broadcast (RFC 919)
    // All of IPv6 but 2000::/3, the one block that public addresses are given out of (RFC 4291, section 2.4): so ::,
    // ::1, the mapped, compatible and translated forms of IPv4 (RFC 4291, 2765), NAT64 (RFC 6052, 8215), discard
    // (RFC 6666), fc00::/7 (RFC 4193), fe80::/10, fec0::/10, ff00::/8, and what may come.
    v6([0, 0], 3),
    v6([0x4000, 0], 2),
    v6([0x8000, 0], 1),
    v6([0x2001, 0], 23), // protocol assignments (RFC 2928): Teredo (RFC 4380), benchmarking, ORCHID
    v6([0x2001, 0xdb8], 32), // documentation (RFC 3849)
    v6([0x2002, 0], 16), // 6to4 (RFC 3056)
    v6([0x3fff, 0], 20), // documentation (RFC 9637)
];

const fn v4([a, b, c, d]: [u8; 4], prefix: u8) -> IpNet {
    IpNet::V4(Ipv4Net::new_assert(Ipv4Addr::new(a, b, c, d), prefix))
}

/// The first two of eight groups; the others are zero.
const fn v6([a, b]: [u16; 2], prefix: u8) -> IpNet {
    IpNet::V6(Ipv6Net::new_assert(Ipv6Addr::new(a, b, 0, 0, 0, 0, 0, 0), prefix))
}

/// Whether `address` may be connected to. One that holds an IPv4 address, for a router to translate or unwrap, also
/// needs that one to be allowed: whoever allows NAT64 has not allowed 10.0.0.0/8 with it.
pub fn is_allowed(allowed: &[IpNet], address: IpAddr) -> bool {
    let is_in = |networks: &[IpNet]| networks.iter().any(|network| network.contains(&address));
    (is_in(allowed) || !is_in(DENIED))
        && match address {
            IpAddr::V4(_) => true,
            IpAddr::V6(address) => {
                embedded(address).into_iter().flatten().all(|inner| is_allowed(allowed, inner.into()))
            }
        }
}

/// The IPv4 addresses inside an IPv6 address. None for NAT64 by 64:ff9b:1::/48: where they are differs by network
/// (RFC 8215), and an operator who allows a part of it answers for what it reaches.
fn embedded(address: Ipv6Addr) -> [Option<Ipv4Addr>; 2] {
    let join = |high: u16, low: u16| Some(Ipv4Addr::from(u32::from(high) << 16 | u32::from(low)));
    match address.segments() {
        [0, 0, 0, 0, 0, 0, 0, 0 | 1] => [None, None],
        // Compatible, mapped (RFC 4291), translated (RFC 2765), NAT64 (RFC 6052).
        [0, 0, 0, 0, 0, 0 | 0xffff, a, b] | [0, 0, 0, 0, 0xffff, 0, a, b] | [0x64, 0xff9b, 0, 0, 0, 0, a, b] => {
            [join(a, b), None]
        }
        // 6to4 (RFC 3056).
        [0x2002, a, b, ..] => [join(a, b), None],
        // Teredo (RFC 4380): the server, and the client with its bits turned.
        [0x2001, 0, a, b, _, _, c, d] => [join(a, b), join(!c, !d)],
        // ISATAP (RFC 5214), below any prefix.
        [_, _, _, _, 0 | 0x200, 0x5efe, a, b] => [join(a, b), None],
        _ => [None, None],
    }
}
