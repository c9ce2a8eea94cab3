//! Affinity keys: XXH64, so that every host, every restart and every other program can compute the same.
//!
//! The function is Yann Collet's XXH64 (xxHash specification 0.1.1, "XXH64 algorithm description").

use std::net::IpAddr;

const P1: u64 = 0x9E37_79B1_85EB_CA87;
const P2: u64 = 0xC2B2_AE3D_27D4_EB4F;
const P3: u64 = 0x1656_67B1_9E37_79F9;
const P4: u64 = 0x85EB_CA77_C2B2_AE63;
const P5: u64 = 0x27D4_EB2F_1656_67C5;

/// The key of any bytes: XXH64 with seed 0.
/// ```
/// assert_eq!(lb_core::key::of_bytes(b""), 0xEF46_DB37_51D8_E999);
/// ```
#[must_use]
pub fn of_bytes(bytes: &[u8]) -> u64 {
    xxh64(bytes, 0)
}

/// The key of a client address: that of its 4 or 16 bytes, where a v4 address in v6 clothing (`::ffff:10.0.0.1`) is
/// the v4 address.
/// ```
/// use lb_core::key;
/// let (v4, mapped) = ("10.0.0.1".parse().unwrap(), "::ffff:10.0.0.1".parse().unwrap());
/// assert_eq!(key::of_address(v4), key::of_address(mapped));
/// ```
#[must_use]
pub fn of_address(address: IpAddr) -> u64 {
    match address.to_canonical() {
        IpAddr::V4(v4) => of_bytes(&v4.octets()),
        IpAddr::V6(v6) => of_bytes(&v6.octets()),
    }
}

/// The key of a client as one somebody, for [`Request::with_client`](crate::Request::with_client): that of its v4 address,
/// or of the network (/64) that a v6 address is in, because whoever has one of those has all of them.
/// ```
/// use lb_core::key;
/// let [one, other, else_where] = ["2001:db8::1", "2001:db8::2", "2001:db8:0:1::1"].map(|a| key::of_client(a.parse().unwrap()));
/// assert!(one == other && one != else_where);
/// assert_eq!(key::of_client([10, 0, 0, 1].into()), key::of_address([10, 0, 0, 1].into()));
/// ```
#[must_use]
pub fn of_client(address: IpAddr) -> u64 {
    match address.to_canonical() {
        IpAddr::V4(v4) => of_bytes(&v4.octets()),
        IpAddr::V6(v6) => of_bytes(v6.octets().split_at(8).0),
    }
}

pub(crate) fn xxh64(bytes: &[u8], seed: u64) -> u64 {
    let (stripes, rest) = bytes.as_chunks::<32>();
    let mut hash = if stripes.is_empty() { seed.wrapping_add(P5) } else { converge(stripes, seed) };
    hash = hash.wrapping_add(bytes.len() as u64);
    let (words, rest) = rest.as_chunks::<8>();
    for word in words {
        hash = (hash ^ round(0, u64::from_le_bytes(*word))).rotate_left(27).wrapping_mul(P1).wrapping_add(P4);
    }
    let (halves, rest) = rest.as_chunks::<4>();
    for half in halves {
        let lane = u64::from(u32::from_le_bytes(*half)).wrapping_mul(P1);
        hash = (hash ^ lane).rotate_left(23).wrapping_mul(P2).wrapping_add(P3);
    }
    for byte in rest {
        hash = (hash ^ u64::from(*byte).wrapping_mul(P5)).rotate_left(11).wrapping_mul(P1);
    }
    avalanche(hash)
}

/// The four lanes over all whole stripes, folded into one.
fn converge(stripes: &[[u8; 32]], seed: u64) -> u64 {
    let mut lanes = [seed.wrapping_add(P1).wrapping_add(P2), seed.wrapping_add(P2), seed, seed.wrapping_sub(P1)];
    for stripe in stripes {
        for (lane, word) in lanes.iter_mut().zip(stripe.as_chunks::<8>().0) {
            *lane = round(*lane, u64::from_le_bytes(*word));
        }
    }
    let [a, b, c, d] = lanes;
    let sum = a.rotate_left(1).wrapping_add(b.rotate_left(7)).wrapping_add(c.rotate_left(12));
    let start = sum.wrapping_add(d.rotate_left(18));
    lanes.into_iter().fold(start, |hash, lane| (hash ^ round(0, lane)).wrapping_mul(P1).wrapping_add(P4))
}

fn round(lane: u64, word: u64) -> u64 {
    lane.wrapping_add(word.wrapping_mul(P2)).rotate_left(31).wrapping_mul(P1)
}

/// Every bit of the result depends on every bit of `hash`.
pub(crate) fn avalanche(mut hash: u64) -> u64 {
    hash = (hash ^ (hash >> 33)).wrapping_mul(P2);
    hash = (hash ^ (hash >> 29)).wrapping_mul(P3);
    hash ^ (hash >> 32)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The bytes that the xxHash project's own vectors are computed over.
    fn sanity_buffer(len: usize) -> Vec<u8> {
        let mut generator = 2_654_435_761_u64;
        let step = |_| {
            let byte = (generator >> 56) as u8;
            generator = generator.wrapping_mul(11_400_714_785_074_694_797);
            byte
        };
        (0..len).map(step).collect()
    }

    #[test]
    fn published_vectors_hold() {
        const PRIME32: u64 = 2_654_435_761;
        let vectors = [
            (0, 0, 0xEF46_DB37_51D8_E999),
            (0, PRIME32, 0xAC75_FDA2_929B_17EF),
            (1, 0, 0xE934_A84A_DB05_2768),
            (1, PRIME32, 0x5014_6076_43A9_B4C3),
            (14, 0, 0x8282_DCC4_994E_35C8),
            (14, PRIME32, 0xC3BD_6BF6_3DEB_6DF0),
            (222, 0, 0xB641_AE8C_B691_C174),
            (222, PRIME32, 0x20CB_8AB7_AE10_C14A),
        ];
        for (len, seed, hash) in vectors {
            assert_eq!(xxh64(&sanity_buffer(len), seed), hash, "{len} bytes, seed {seed}");
        }
        assert_eq!(of_bytes(b"abc"), 0x44BC_2CF5_AD77_0999);
    }
}
