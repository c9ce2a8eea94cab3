//! Networks of addresses: from whom something is believed.

use std::{
    fmt,
    net::{AddrParseError, IpAddr},
    str::FromStr,
};

use ipnet::IpNet;

/// A list of networks, such as `10.0.0.0/8,2001:db8::/32,192.0.2.1`: words between commas, each a network in CIDR notation
/// (RFC 4632) or one address. An IPv4 address in IPv6 clothing is the IPv4 address.
/// ```
/// use lb_net::proxy_protocol::Networks;
/// let networks: Networks = "10.0.0.0/8,::1".parse()?;
/// assert!(networks.contain("::ffff:10.1.2.3".parse().unwrap()));
/// assert!(!networks.contain("192.0.2.1".parse().unwrap()));
/// let error = "10.0.0.0/8,10.0.0.0/33".parse::<Networks>().unwrap_err();
/// assert_eq!(error.to_string(), "'10.0.0.0/33' is no network: an address, or one with a prefix length such as 10.0.0.0/8");
/// # Ok::<(), lb_net::proxy_protocol::NetworksError>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Networks(Vec<IpNet>);

/// Why a text is no list of networks.
/// ```
/// # use lb_net::proxy_protocol::{Networks, NetworksError};
/// let error = "".parse::<Networks>().unwrap_err();
/// assert_eq!(error.to_string(), "'' is no network: an address, or one with a prefix length such as 10.0.0.0/8");
/// ```
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NetworksError {
    /// This word.
    #[error("'{0}' is no network: an address, or one with a prefix length such as 10.0.0.0/8")]
    Word(String),
    /// This word has bits behind its prefix: it may be meant as one address, or as the network around it.
    #[error("'{0}' is an address inside of a network: write {1} or {2}")]
    Bits(String, IpAddr, IpNet),
}

impl Networks {
    /// Whether the address is in one of them.
    #[must_use]
    pub fn contain(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.0.iter().any(|network| network.contains(&address))
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl FromStr for Networks {
    type Err = NetworksError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.split(',').map(|word| network(word.trim())).collect::<Result<_, _>>().map(Self)
    }
}

fn network(word: &str) -> Result<IpNet, NetworksError> {
    let unknown = || NetworksError::Word(word.to_owned());
    if !word.contains('/') {
        let address: Result<IpAddr, AddrParseError> = word.parse();
        return Ok(address.map_err(|_| unknown())?.to_canonical().into());
    }
    let network: IpNet = word.parse().map_err(|_| unknown())?;
    match network.trunc() {
        whole if whole.addr() != network.addr() => Err(NetworksError::Bits(word.to_owned(), network.addr(), whole)),
        whole => Ok(undressed(whole)),
    }
}

/// A network of IPv4 addresses in IPv6 clothing is the IPv4 network.
fn undressed(network: IpNet) -> IpNet {
    let IpNet::V6(v6) = network else { return network };
    let bare = v6.addr().to_ipv4_mapped().zip(v6.prefix_len().checked_sub(96));
    bare.and_then(|(v4, length)| IpNet::new(v4.into(), length).ok()).unwrap_or(network)
}

/// As it is parsed.
impl fmt::Display for Networks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words: Vec<_> = self.0.iter().map(IpNet::to_string).collect();
        f.write_str(&words.join(","))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_edges_of_a_network_are_in_it_and_their_neighbours_are_not() {
        let networks: Networks = "10.1.0.0/16, 2001:db8::/32,0.0.0.0/32,::ffff:192.0.2.0/120".parse().unwrap();
        for inside in ["10.1.0.0", "10.1.255.255", "::ffff:10.1.2.3", "2001:db8:ffff::", "0.0.0.0", "192.0.2.255"] {
            assert!(networks.contain(inside.parse().unwrap()), "{inside}");
        }
        for outside in ["10.0.255.255", "10.2.0.0", "2001:db9::", "2001:db7:ffff::", "0.0.0.1", "::1", "192.0.3.0"] {
            assert!(!networks.contain(outside.parse().unwrap()), "{outside}");
        }
        let all: Networks = "0.0.0.0/0".parse().unwrap();
        assert!(all.contain("::ffff:9.9.9.9".parse().unwrap()) && !all.contain("2001:db8::1".parse().unwrap()));
    }

    #[test]
    fn a_word_that_is_no_network_is_named() {
        for word in ["10.0.0", "10.0.0.0/", "10.0.0.0/x", "::/129", "lan", "10.0.0.0/-1"] {
            assert_eq!(format!("::1,{word}").parse::<Networks>(), Err(NetworksError::Word(word.to_owned())));
        }
        assert_eq!("::1,".parse::<Networks>(), Err(NetworksError::Word(String::new())));
        let error = "10.1.2.3/8".parse::<Networks>().unwrap_err().to_string();
        assert_eq!(error, "'10.1.2.3/8' is an address inside of a network: write 10.1.2.3 or 10.0.0.0/8");
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_again(words in proptest::collection::vec((any::<[u8; 16]>(), 0..=32_u8), 1..5)) {
            let network = |(bytes, length): &([u8; 16], u8)| {
                let v4 = <[u8; 4]>::try_from(&bytes[..4]).unwrap();
                let address = if bytes[15] % 2 == 0 { IpAddr::from(*bytes) } else { IpAddr::from(v4) };
                IpNet::new(address, *length).unwrap().trunc()
            };
            let networks = Networks(words.iter().map(network).collect());
            prop_assert_eq!(networks.to_string().parse(), Ok(networks));
        }

        #[test]
        fn no_text_panics(text in ".{0,40}") {
            let _ = text.parse::<Networks>();
        }
    }
}
