//! Checking signatures of one Ed25519 key many times.

use std::sync::LazyLock;

use curve25519_dalek::constants::ED25519_BASEPOINT_POINT;
use curve25519_dalek::edwards::EdwardsPoint;
use curve25519_dalek::scalar::Scalar;
use curve25519_dalek::traits::Identity;
use ed25519_dalek::{Signature, VerifyingKey};
use sha2::{Digest, Sha512};

/// Bits of a digit: two times multiplying by eight.
const DIGIT_BITS: usize = 6;
/// Largest digit; digits are signed.
const DIGIT_MAX: usize = 1 << (DIGIT_BITS - 1);
/// Every so many digits there is a row of multiples; the digits between make do with doubling what they sum up to.
const SHARES: usize = 4;
/// Rows, for scalars of 253 bits.
const ROWS: usize = 11;

const _: () = assert!(ROWS * SHARES * DIGIT_BITS > 256);

/// A table of multiples of a point, 56 kB, that takes as long to make as two signatures take to be checked. Nothing secret
/// may be multiplied by it: how long that takes depends on the number.
struct Multiples(Vec<[EdwardsPoint; DIGIT_MAX]>);

static OF_BASE_POINT: LazyLock<Multiples> = LazyLock::new(|| Multiples::of(ED25519_BASEPOINT_POINT));

impl Multiples {
    fn of(point: EdwardsPoint) -> Self {
        let mut base = point;
        let row = |_| {
            let mut next = EdwardsPoint::identity();
            let multiples = core::array::from_fn(|_| {
                next += base;
                next
            });
            base = (0..SHARES).fold(base, |base, _| shifted(base));
            multiples
        };
        Self((0..ROWS).map(row).collect())
    }
}

/// The point multiplied by the value of the next higher digit.
fn shifted(point: EdwardsPoint) -> EdwardsPoint {
    point.mul_by_cofactor().mul_by_cofactor()
}

/// The number as digits from -32 to 31, the lowest first.
fn digits(number: &Scalar) -> [i8; ROWS * SHARES] {
    let bytes = number.as_bytes();
    let mut carry = 0;
    core::array::from_fn(|at| {
        let (byte, bit) = (at * DIGIT_BITS / 8, at * DIGIT_BITS % 8);
        let pair = [byte, byte + 1].map(|at| bytes.get(at).copied().unwrap_or_default());
        let raw = u16::from_le_bytes(pair) >> bit & 63;
        let digit = i8::try_from(raw).unwrap_or_default() + carry;
        carry = i8::from(digit >= 32);
        digit - (carry << DIGIT_BITS)
    })
}

/// The sum of the points, each multiplied by its number.
fn sum(terms: [(&Multiples, &Scalar); 2]) -> EdwardsPoint {
    let terms = terms.map(|(multiples, number)| (multiples, digits(number)));
    let mut sum = EdwardsPoint::identity();
    for share in (0..SHARES).rev() {
        if share + 1 < SHARES {
            sum = shifted(sum);
        }
        for (multiples, digits) in &terms {
            let of_share = digits.iter().skip(share).step_by(SHARES);
            for (row, digit) in multiples.0.iter().zip(of_share) {
                let place = usize::from(digit.unsigned_abs()).checked_sub(1);
                match place.and_then(|place| row.get(place)) {
                    Some(multiple) if *digit > 0 => sum += multiple,
                    Some(multiple) => sum -= multiple,
                    None => {}
                }
            }
        }
    }
    sum
}

/// An Ed25519 key with a table of its multiples: a signature is checked in half the time, with the same verdict.
pub(crate) struct FixedSigner {
    key: [u8; 32],
    negated: Multiples,
}

impl FixedSigner {
    /// Makes the table.
    pub(crate) fn new(key: VerifyingKey) -> Self {
        Self { key: key.to_bytes(), negated: Multiples::of(-key.to_edwards()) }
    }

    /// What [`verify`](crate::identity::verify) says of the same key: RFC 8032, section 5.1.7, without the cofactor.
    pub(crate) fn verify(&self, message: &[u8], signature: &[u8]) -> bool {
        let Ok(signature) = Signature::from_slice(signature) else { return false };
        let (commitment, response) = (signature.r_bytes(), Scalar::from_canonical_bytes(*signature.s_bytes()));
        let Some(response) = response.into_option() else { return false };
        let hash = Sha512::new().chain_update(commitment).chain_update(self.key).chain_update(message);
        let challenge = Scalar::from_bytes_mod_order_wide(&hash.finalize().into());
        sum([(&self.negated, &challenge), (&OF_BASE_POINT, &response)]).compress().as_bytes() == commitment
    }
}

impl core::fmt::Debug for FixedSigner {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("FixedSigner")
    }
}

#[cfg(test)]
mod tests {
    use curve25519_dalek::constants::EIGHT_TORSION;
    use ed25519_dalek::{Signer, SigningKey};
    use proptest::prelude::*;

    use super::*;
    use crate::identity::verify;

    /// The order of the base point, little-endian.
    const ORDER: [u8; 32] = [
        0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde, 0x14, 0, 0, 0, 0, 0,
        0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
    ];

    fn both(key: VerifyingKey, message: &[u8], signature: &[u8]) -> bool {
        let verdict = verify(&key, message, signature);
        assert_eq!(FixedSigner::new(key).verify(message, signature), verdict);
        verdict
    }

    proptest! {
        #[test]
        fn sums_are_those_of_plain_multiplication(a: [u8; 32], b: [u8; 32], p: [u8; 32], q: [u8; 32], torsion in 0..8usize) {
            let [a, b, p, q] = [a, b, p, q].map(Scalar::from_bytes_mod_order);
            let (p, q) = (EdwardsPoint::mul_base(&p) + EIGHT_TORSION[torsion], EdwardsPoint::mul_base(&q));
            prop_assert_eq!(sum([(&Multiples::of(p), &a), (&Multiples::of(q), &b)]), p * a + q * b);
        }

        #[test]
        fn the_verdict_is_that_of_the_plain_check(
            seed: [u8; 32],
            message in proptest::collection::vec(any::<u8>(), 0..100),
            flip in 0..512usize,
            len in 0..80usize,
        ) {
            let signing = SigningKey::from_bytes(&seed);
            let mut signature = signing.sign(&message).to_bytes();
            prop_assert!(both(signing.verifying_key(), &message, &signature));
            prop_assert!(!both(signing.verifying_key(), &[&message[..], &[0]].concat(), &signature));
            signature[flip / 8] ^= 1 << (flip % 8);
            prop_assert!(!both(signing.verifying_key(), &message, &signature));
            both(signing.verifying_key(), &message, &vec![7; len]);
        }

        #[test]
        fn keys_and_signatures_from_anywhere_get_the_same_verdict(key: [u8; 32], signature: [u8; 64], order in 0..8usize) {
            if let Ok(key) = VerifyingKey::from_bytes(&key) {
                both(key, b"text", &signature);
            }
            // Keys of small order have signatures that many texts share.
            let key = VerifyingKey::from_bytes(EIGHT_TORSION[order].compress().as_bytes()).unwrap();
            let mut crafted = [0; 64];
            for torsion in EIGHT_TORSION {
                crafted[..32].copy_from_slice(torsion.compress().as_bytes());
                both(key, &signature, &crafted);
            }
        }
    }

    #[test]
    fn extreme_numbers_have_their_digits() {
        let most = -Scalar::ONE;
        let (point, other) = (ED25519_BASEPOINT_POINT, EIGHT_TORSION[1]);
        for number in [Scalar::ZERO, Scalar::ONE, most, Scalar::from(32u64), Scalar::from(u64::MAX)] {
            let found = sum([(&Multiples::of(point), &number), (&Multiples::of(other), &most)]);
            assert_eq!(found, point * number + other * most);
        }
    }

    #[test]
    fn a_number_that_is_not_reduced_and_a_commitment_that_is_written_otherwise_are_refused() {
        let signing = SigningKey::from_bytes(&[3; 32]);
        let mut signature = signing.sign(b"text").to_bytes();
        let mut carry = 0;
        for (byte, order) in signature[32..].iter_mut().zip(ORDER) {
            let sum = u16::from(*byte) + u16::from(order) + carry;
            (*byte, carry) = (sum.to_le_bytes()[0], sum >> 8);
        }
        assert!(!both(signing.verifying_key(), b"text", &signature));
        // The neutral point twice: once as it is written, once with the prime added to its coordinate.
        let neutral = VerifyingKey::from_bytes(EdwardsPoint::identity().compress().as_bytes()).unwrap();
        let mut crafted = [0; 64];
        crafted[0] = 1;
        assert!(both(neutral, b"text", &crafted));
        crafted[..32].copy_from_slice(&[0xff; 32]);
        (crafted[0], crafted[31]) = (0xee, 0x7f);
        assert!(!both(neutral, b"text", &crafted));
    }
}
