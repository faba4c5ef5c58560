//! The key of a link, and what it comes from. docs/protocol/2-link.md, section 2.7.

use zeroize::Zeroizing;

use crate::crypto::{self, TokenKey};
use crate::hash::LinkId;

/// Private and public key of the two ends, and the link whose key they agree on. The private key is wiped on drop.
#[derive(Clone)]
pub(super) struct Agreement {
    pub(super) link: LinkId,
    pub(super) private: Zeroizing<[u8; 32]>,
    pub(super) theirs: [u8; 32],
}

impl Agreement {
    /// The costly part; `None` when their key is of low order.
    pub(super) fn run(&self) -> Option<TokenKey> {
        let shared = crypto::agree(&self.private, &self.theirs)?;
        let derived = crypto::hkdf(64, shared.as_ref(), Some(self.link.as_ref()), &[]).ok()?;
        TokenKey::from_slice(&derived).ok()
    }
}

/// How far the key exchange is.
pub(super) enum Keys {
    /// The initiator's private key, until the proof is there.
    Asked(Zeroizing<[u8; 32]>),
    /// The responder has all it takes. A job makes the key; whoever needs it sooner does not wait for that.
    Agreeing(Agreement),
    Agreed(TokenKey),
    /// The link is closed.
    Wiped,
}

impl Keys {
    /// The key, if it is there already.
    pub(super) fn get(&self) -> Option<&TokenKey> {
        match self {
            Self::Agreed(key) => Some(key),
            Self::Asked(_) | Self::Agreeing(_) | Self::Wiped => None,
        }
    }

    /// What is left to do at the responder.
    pub(super) fn agreement(&self) -> Option<&Agreement> {
        match self {
            Self::Agreeing(agreement) => Some(agreement),
            Self::Asked(_) | Self::Agreed(_) | Self::Wiped => None,
        }
    }

    /// The initiator has the responder's public key. Says whether there is a key now; if not, nothing changed.
    pub(super) fn agree_with(&mut self, link: LinkId, theirs: &[u8; 32]) -> bool {
        let Self::Asked(private) = self else { return false };
        let Some(key) = (Agreement { link, private: private.clone(), theirs: *theirs }).run() else { return false };
        *self = Self::Agreed(key);
        true
    }

    /// The responder needs the key now, whether or not a job makes it.
    pub(super) fn settle(&mut self) {
        if let Some(key) = self.agreement().and_then(Agreement::run) {
            *self = Self::Agreed(key);
        }
    }

    /// A job made the key. It is the same that there may be by now.
    pub(super) fn agreed(&mut self, key: Option<TokenKey>) {
        if let (Self::Agreeing(_), Some(key)) = (&self, key) {
            *self = Self::Agreed(key);
        }
    }
}

#[cfg(test)]
mod tests {
    use core::time::Duration;

    use super::*;
    use crate::hash::DestinationHash;
    use crate::identity::Identity;
    use crate::link::{Initiate, Link, LinkEvent, LinkState};
    use crate::testing::TestRng;
    use crate::time::Now;
    use crate::wire::PacketRef;

    /// An initiator that has the proof, and its responder.
    fn handshake(now: Now, rng: &mut TestRng) -> [Link; 2] {
        let (owner, to) = (Identity::generate(rng), DestinationHash::new([5; 16]));
        let path = Initiate { mtu: 500, hops: 1, first_hop_timeout: Duration::from_secs(6) };
        let (mut initiator, request) = Link::initiate(now, rng, to, owner.public(), path);
        let request = request.encode();
        let (responder, proof) = Link::accept(now, rng, &owner, &PacketRef::parse(&request).unwrap(), 1).unwrap();
        initiator.handle_packet(now, rng, &PacketRef::parse(&proof.encode()).unwrap());
        [initiator, responder]
    }

    #[derive(Debug, Clone, Copy, PartialEq)]
    enum Done {
        Before,
        After,
        Never,
    }

    #[test]
    fn a_link_comes_up_whether_the_job_is_done_before_the_first_packet_or_after_it_or_never() {
        for done in [Done::Before, Done::After, Done::Never] {
            let (now, mut rng) = (Now::default().later(Duration::from_secs(10)), TestRng::seeded(1));
            let [mut initiator, mut responder] = handshake(now, &mut rng);
            let job = responder.poll_job().unwrap();
            assert!(responder.keys.get().is_none() && responder.poll_job().is_none());
            let mut result = Some(job.run());
            if done == Done::Before {
                responder.handle_job(now, &mut rng, result.take().unwrap());
                assert!(responder.keys.get().is_some());
            }
            initiator.send(now, &mut rng, b"first").unwrap();
            while let Some(packet) = initiator.poll_packet() {
                responder.handle_packet(now, &mut rng, &PacketRef::parse(&packet.encode()).unwrap());
            }
            if done == Done::After {
                responder.handle_job(now, &mut rng, result.take().unwrap());
            }
            assert!(matches!(responder.poll_event(), Some(LinkEvent::Up { .. })), "{done:?}");
            let Some(LinkEvent::Data { payload }) = responder.poll_event() else { panic!("{done:?}") };
            assert_eq!(payload, b"first"[..]);
        }
    }

    #[test]
    fn a_responder_without_a_key_yet_says_goodbye_and_keeps_no_key() {
        let (now, mut rng) = (Now::default(), TestRng::seeded(1));
        let [mut initiator, mut responder] = handshake(now, &mut rng);
        let job = responder.poll_job().unwrap();
        responder.close(now, &mut rng);
        let goodbye = responder.poll_packet().unwrap().encode();
        initiator.handle_packet(now, &mut rng, &PacketRef::parse(&goodbye).unwrap());
        assert_eq!(initiator.state(), LinkState::Closed);
        responder.handle_job(now, &mut rng, job.run());
        assert!(matches!(responder.keys, Keys::Wiped));
    }
}
