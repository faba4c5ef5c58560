//! Whose signatures are checked again and again: proofs of packets and of links. docs/protocol/1-core.md, section 3.8.

use crate::bounded::Bounded;
use crate::crypto::FixedSigner;
use crate::identity::PublicIdentity;

/// Good signatures of a key after which a table of its multiples pays.
const USES: u32 = 8;

#[derive(Debug)]
enum Signer {
    /// So many of its signatures were good.
    Seen(u32),
    Fixed(FixedSigner),
}

/// The few keys that proofs come from, some with a table of 56 kB; the one used longest ago leaves. Only good signatures
/// get a key in, and only those that this node waits for are checked: nobody else has a say in what is here.
#[derive(Debug)]
pub(crate) struct Signers(Bounded<[u8; 32], Signer>);

impl Signers {
    pub(crate) fn new(capacity: usize) -> Self {
        Self(Bounded::new(capacity))
    }

    /// What [`PublicIdentity::verify`] says, in half the time for a key in use.
    pub(crate) fn verify(&mut self, of: &PublicIdentity, message: &[u8], signature: &[u8]) -> bool {
        let key = of.signing_key();
        if let Some(Signer::Fixed(fixed)) = self.0.get(key) {
            let good = fixed.verify(message, signature);
            if good {
                self.0.refresh(key);
            }
            return good;
        }
        let good = of.verify(message, signature);
        if good {
            self.count(of);
        }
        good
    }

    fn count(&mut self, of: &PublicIdentity) {
        match self.0.use_mut(of.signing_key()) {
            Some(Signer::Seen(uses)) if *uses < USES => *uses += 1,
            Some(signer) => *signer = Signer::Fixed(FixedSigner::new(of.verifying_key())),
            None => drop(self.0.insert(*of.signing_key(), Signer::Seen(1))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::Identity;
    use crate::testing::TestRng;

    fn identity(seed: u64) -> Identity {
        Identity::generate(&mut TestRng::seeded(seed))
    }

    fn checked(signers: &mut Signers, of: &Identity, text: u8) -> bool {
        signers.verify(of.public(), &[text], &of.sign(&[text]))
    }

    fn tables(signers: &Signers) -> usize {
        signers.0.iter().filter(|(_, signer)| matches!(signer, Signer::Fixed(_))).count()
    }

    #[test]
    fn verdicts_are_the_same_before_and_after_there_is_a_table() {
        let (mut signers, of, other) = (Signers::new(2), identity(1), identity(2));
        for text in 0..20 {
            assert!(checked(&mut signers, &of, text));
            assert!(!signers.verify(of.public(), &[text], &of.sign(&[text + 1])));
            assert!(!signers.verify(of.public(), &[text], &other.sign(&[text])));
            assert!(!signers.verify(of.public(), &[text], &[]));
        }
        assert_eq!(tables(&signers), 1);
    }

    #[test]
    fn bad_signatures_make_no_entry_and_no_table_and_keep_none_in_use() {
        let (mut signers, of) = (Signers::new(1), identity(1));
        for text in 0..100 {
            assert!(!signers.verify(of.public(), &[text], &[text; 64]));
        }
        assert_eq!(signers.0.len(), 0);
        (0..20).for_each(|text| assert!(checked(&mut signers, &of, text)));
        assert_eq!(tables(&signers), 1);
    }

    #[test]
    fn ten_times_as_many_keys_as_fit_leave_the_bound_alone_and_a_busy_key_keeps_its_table() {
        let (mut signers, busy) = (Signers::new(4), identity(1));
        (0..20).for_each(|text| assert!(checked(&mut signers, &busy, text)));
        for other in 0..40 {
            assert!(checked(&mut signers, &identity(100 + other), 0));
            assert!(checked(&mut signers, &busy, 0));
            assert!(signers.0.len() <= 4);
            assert_eq!(tables(&signers), 1);
        }
    }

    #[test]
    fn without_room_signatures_are_checked_all_the_same() {
        let (mut signers, of) = (Signers::new(0), identity(1));
        (0..20).for_each(|text| assert!(checked(&mut signers, &of, text)));
        assert_eq!(signers.0.len(), 0);
    }
}
