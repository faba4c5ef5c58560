//! Many Ed25519 signatures checked together, which costs about half as much for each. docs/protocol/1-core.md, section 0.
//!
//! The equations of all signatures are added up, each times a number that nobody could foresee when the signatures were
//! made, so that what is wrong in one cannot be made up for in another. The sum says that all are good or that one is bad.

use curve25519_dalek::constants::ED25519_BASEPOINT_POINT;
use curve25519_dalek::edwards::{CompressedEdwardsY, EdwardsPoint};
use curve25519_dalek::scalar::Scalar;
use curve25519_dalek::traits::{IsIdentity, VartimeMultiscalarMul};
use ed25519_dalek::{Signature, VerifyingKey};
use sha2::{Digest, Sha512};

use crate::identity::{SIGNATURE_LEN, verify};

/// So few signatures are checked one by one: together they would cost as much, and one by one each verdict is exact.
const FEW: usize = 3;

/// A message, in pieces that follow each other, with what is to be its signature.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Signed<'a, const PIECES: usize> {
    pub(crate) key: &'a [u8; 32],
    pub(crate) message: [&'a [u8]; PIECES],
    pub(crate) signature: &'a [u8; SIGNATURE_LEN],
}

/// What was found of one signature.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    Good,
    Bad,
    /// The key is no point on the curve.
    NoKey,
}

/// The equation of one signature: `s * base = r + k * a`.
struct Equation {
    a: EdwardsPoint,
    r: EdwardsPoint,
    s: Scalar,
    k: Scalar,
    /// By how much it counts in the sum.
    weight: Scalar,
}

impl<const PIECES: usize> Signed<'_, PIECES> {
    /// The same rules as everywhere, for this one alone.
    fn verify(&self) -> Verdict {
        match VerifyingKey::from_bytes(self.key) {
            Ok(key) if verify(&key, &self.message.concat(), self.signature) => Verdict::Good,
            Ok(_) => Verdict::Bad,
            Err(_) => Verdict::NoKey,
        }
    }

    fn challenge(&self) -> Sha512 {
        let (r, _) = self.halves();
        let start = Sha512::new().chain_update(r).chain_update(self.key);
        self.message.iter().fold(start, |hash, piece| hash.chain_update(piece))
    }

    fn halves(&self) -> ([u8; 32], [u8; 32]) {
        let signature = Signature::from_bytes(self.signature);
        (*signature.r_bytes(), *signature.s_bytes())
    }

    /// An equation that counts nothing yet. A number that is not in its shortest form is refused, as peers do.
    fn equation(&self, challenge: &[u8; 64]) -> Result<Equation, Verdict> {
        let (r, s) = self.halves();
        let a = CompressedEdwardsY(*self.key).decompress().ok_or(Verdict::NoKey)?;
        let r = CompressedEdwardsY(r).decompress().ok_or(Verdict::Bad)?;
        let s = Option::from(Scalar::from_canonical_bytes(s)).ok_or(Verdict::Bad)?;
        let k = Scalar::from_bytes_mod_order_wide(challenge);
        Ok(Equation { a, r, s, k, weight: Scalar::ZERO })
    }
}

/// Checks all of them, at best together; where that fails, each half by itself.
pub(crate) fn verify_all<const PIECES: usize>(signed: &[Signed<'_, PIECES>]) -> Vec<Verdict> {
    if signed.len() <= FEW {
        return signed.iter().map(Signed::verify).collect();
    }
    let challenges: Vec<[u8; 64]> = signed.iter().map(|this| this.challenge().finalize().into()).collect();
    let mut verdicts = Vec::with_capacity(signed.len());
    let mut equations = Vec::with_capacity(signed.len());
    for (at, (this, challenge)) in signed.iter().zip(&challenges).enumerate() {
        verdicts.push(match this.equation(challenge) {
            Ok(equation) => {
                equations.push((at, equation));
                Verdict::Good
            }
            Err(verdict) => verdict,
        });
    }
    let weights = weights(signed, &challenges);
    for ((_, equation), weight) in equations.iter_mut().zip(weights) {
        equation.weight = weight;
    }
    let mut bad = Vec::new();
    find_bad(signed, &equations, &mut bad);
    for (at, found) in bad {
        if let Some(verdict) = verdicts.get_mut(at) {
            *verdict = found;
        }
    }
    verdicts
}

/// Numbers of 128 bits that follow from everything that is checked: whoever makes a signature cannot know them before all of
/// it is made. No randomness is drawn, so that the same job gives the same result.
fn weights<const PIECES: usize>(
    signed: &[Signed<'_, PIECES>],
    challenges: &[[u8; 64]],
) -> impl Iterator<Item = Scalar> {
    let start = Sha512::new().chain_update(b"weights of signatures checked together");
    let all = signed.iter().zip(challenges).fold(start, |all, (this, challenge)| {
        // The challenge stands for the key, the message and the first half of the signature.
        all.chain_update(challenge).chain_update(this.halves().1)
    });
    let seed: [u8; 64] = all.finalize().into();
    (0_u64..).flat_map(move |block| {
        let block: [u8; 64] = Sha512::new().chain_update(seed).chain_update(block.to_le_bytes()).finalize().into();
        let (numbers, _) = block.as_chunks::<16>();
        numbers.iter().map(|number| Scalar::from(u128::from_le_bytes(*number))).collect::<Vec<_>>()
    })
}

/// Those that are bad, with their verdicts.
fn find_bad<const PIECES: usize>(
    signed: &[Signed<'_, PIECES>],
    equations: &[(usize, Equation)],
    bad: &mut Vec<(usize, Verdict)>,
) {
    if equations.len() <= FEW {
        let each = equations.iter().filter_map(|(at, _)| Some((*at, signed.get(*at)?.verify())));
        return bad.extend(each.filter(|(_, verdict)| *verdict != Verdict::Good));
    }
    if !add_up(equations) {
        let (half, other) = equations.split_at(equations.len() / 2);
        find_bad(signed, half, bad);
        find_bad(signed, other, bad);
    }
}

/// Whether the sum of the equations holds.
fn add_up(equations: &[(usize, Equation)]) -> bool {
    let equations = || equations.iter().map(|(_, equation)| equation);
    let base: Scalar = equations().map(|this| this.weight * this.s).sum();
    let scalars = equations().map(|this| this.weight).chain(equations().map(|this| this.weight * this.k));
    let points = equations().map(|this| this.r).chain(equations().map(|this| this.a));
    let scalars = core::iter::once(-base).chain(scalars);
    EdwardsPoint::vartime_multiscalar_mul(scalars, core::iter::once(ED25519_BASEPOINT_POINT).chain(points))
        .is_identity()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::Identity;
    use crate::testing::TestRng;

    #[test]
    fn each_gets_the_verdict_it_gets_alone() {
        let identities: Vec<_> = (0..40).map(|seed| Identity::generate(&mut TestRng::seeded(seed))).collect();
        let texts: Vec<Vec<u8>> = (0..40_u8).map(|of| vec![of; usize::from(of) * 7]).collect();
        let good: Vec<_> = identities
            .iter()
            .zip(&texts)
            .map(|(identity, text)| identity.sign(&[&b"head"[..], text].concat()))
            .collect();
        let keys: Vec<[u8; 32]> = identities.iter().map(|identity| *identity.public().signing_key()).collect();
        // Adding the order of the group to the second half gives a number that fits as well, and is refused.
        let longer = |signature: &[u8; 64]| {
            let order = hex::decode("edd3f55c1a631258d69cf7a2def9de1400000000000000000000000000000010").unwrap();
            let (mut out, mut carry) = (*signature, 0_u16);
            for (to, add) in out[32..].iter_mut().zip(order) {
                let sum = u16::from(*to) + u16::from(add) + carry;
                (*to, carry) = (sum.to_le_bytes()[0], sum >> 8);
            }
            out
        };
        for broken in [vec![], vec![0], vec![39], vec![1, 2, 3, 20], (0..40).collect::<Vec<usize>>()] {
            let (mut signatures, mut keys) = (good.clone(), keys.clone());
            for at in &broken {
                match at % 5 {
                    0 => signatures[*at][3] ^= 4,
                    1 => signatures[*at][40] ^= 4,
                    2 => signatures[*at] = longer(&signatures[*at]),
                    3 => keys[*at] = [2; 32],
                    _ => signatures[*at].rotate_left(1),
                }
            }
            let signed = keys.iter().zip(&texts).zip(&signatures);
            let signed: Vec<_> =
                signed.map(|((key, text), signature)| Signed { key, message: [b"head", text], signature }).collect();
            let verdicts = verify_all(&signed);
            assert!(verdicts.iter().eq(signed.iter().map(Signed::verify).collect::<Vec<_>>().iter()), "{broken:?}");
            let found: Vec<_> = (0..40).filter(|at| verdicts[*at] != Verdict::Good).collect();
            assert_eq!(found, broken);
        }
        assert!(verify_all::<1>(&[]).is_empty());
    }
}
