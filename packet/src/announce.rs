//! Announces: a destination makes its key and its data known. docs/protocol/1-core.md, section 4.

use bytes::Bytes;

use crate::batch::{self, Signed, Verdict};
use crate::destination::single_hash;
use crate::hash::{DestinationHash, IdentityHash, NameHash, sha256_head};
use crate::identity::{Identity, KEY_LEN, PublicIdentity, RATCHET_LEN, SIGNATURE_LEN};
use crate::time::UnixTime;
use crate::wire::{Context, DestinationKind, Flags, MTU, Packet, PacketKind, PacketRef, layout};

/// Length of the random hash: 5 random bytes, then the emission time.
pub const RANDOM_HASH_LEN: usize = 10;
const MIN_LEN: usize = KEY_LEN + NameHash::LEN + RANDOM_HASH_LEN + SIGNATURE_LEN;

/// Most app data an announce may carry so that it can still be relayed. docs/protocol/1-core.md, section 4.1.
pub const fn app_data_max(with_ratchet: bool) -> usize {
    MTU - layout::HEADER_2_LEN - MIN_LEN - if with_ratchet { RATCHET_LEN } else { 0 }
}

const _: () = assert!(app_data_max(false) == 317 && app_data_max(true) == 285);

/// Random bytes and emission time: tells announces of one destination apart and orders them.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RandomHash([u8; RANDOM_HASH_LEN]);

impl RandomHash {
    /// 5 random bytes, then whole seconds since the epoch in 5 bytes.
    pub fn new(random: [u8; 5], emitted: UnixTime) -> Self {
        let mut bytes = [0; RANDOM_HASH_LEN];
        let time = emitted.0.to_be_bytes();
        let tail = time.iter().skip(3);
        bytes.iter_mut().zip(random.iter().chain(tail)).for_each(|(to, from)| *to = *from);
        Self(bytes)
    }

    /// The bytes as the announce carries them.
    pub const fn from_bytes(bytes: [u8; RANDOM_HASH_LEN]) -> Self {
        Self(bytes)
    }

    /// The bytes.
    pub const fn as_bytes(&self) -> &[u8; RANDOM_HASH_LEN] {
        &self.0
    }

    /// When the announce says it was made.
    pub fn emitted(&self) -> UnixTime {
        UnixTime(self.0.iter().skip(5).fold(0, |time, byte| time << 8 | u64::from(*byte)))
    }
}

impl core::fmt::Debug for RandomHash {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// Why an announce was refused. docs/protocol/1-core.md, section 4.3.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
pub enum InvalidAnnounce {
    /// Fields are missing, or the key is no key.
    #[error("announce is malformed")]
    Malformed,
    /// The signature is not the announced identity's.
    #[error("announce has a bad signature")]
    Signature,
    /// The address does not follow from name and identity.
    #[error("announce is for another destination")]
    Address,
}

/// The fields of an announce, not yet verified.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AnnounceRef<'a> {
    /// The address in the header.
    pub destination: DestinationHash,
    /// The announced public key.
    pub public_key: &'a [u8; KEY_LEN],
    /// Hash of the destination's name.
    pub name: NameHash,
    /// Tells announces apart and orders them.
    pub random: RandomHash,
    /// Public half of the ratchet to encrypt to.
    pub ratchet: Option<&'a [u8; RATCHET_LEN]>,
    /// Signature of the identity.
    pub signature: &'a [u8; SIGNATURE_LEN],
    /// Data of the application, empty when there is none.
    pub app_data: &'a [u8],
}

impl<'a> AnnounceRef<'a> {
    /// Splits the body of an announce by its context flag.
    ///
    /// # Errors
    /// [`InvalidAnnounce::Malformed`] when it is too short.
    pub fn parse(packet: &PacketRef<'a>) -> Result<Self, InvalidAnnounce> {
        Self::split(packet).ok_or(InvalidAnnounce::Malformed)
    }

    /// Reads a whole frame; `None` when it is no announce.
    pub fn of(frame: &'a [u8]) -> Option<Self> {
        let packet = PacketRef::parse(frame).ok()?;
        (packet.flags().packet() == PacketKind::Announce).then(|| Self::split(&packet)).flatten()
    }

    /// Whether both are the same announce, however many hops each has come, and even if one is a path response.
    pub(crate) fn is_copy_of(&self, other: &Self) -> bool {
        // All that is signed is equal when the signatures are and both are good.
        (self.destination, self.signature, self.ratchet) == (other.destination, other.signature, other.ratchet)
            && (self.random, self.app_data, self.public_key) == (other.random, other.app_data, other.public_key)
    }

    fn split(packet: &PacketRef<'a>) -> Option<Self> {
        let (public_key, rest) = packet.data().split_first_chunk()?;
        let (name, rest) = rest.split_first_chunk()?;
        let (random, rest) = rest.split_first_chunk()?;
        let (ratchet, rest) = if packet.flags().context_flag() {
            let (ratchet, rest) = rest.split_first_chunk()?;
            (Some(ratchet), rest)
        } else {
            (None, rest)
        };
        let (signature, app_data) = rest.split_first_chunk()?;
        Some(Self {
            destination: packet.destination(),
            public_key,
            name: NameHash::new(*name),
            random: RandomHash::from_bytes(*random),
            ratchet,
            signature,
            app_data,
        })
    }

    /// Who announces, by the key it shows.
    pub fn identity_hash(&self) -> IdentityHash {
        IdentityHash::new(sha256_head(&[self.public_key]))
    }

    /// Checks signature and address, the costly part.
    ///
    /// # Errors
    /// Which of the checks failed.
    pub fn verify(&self) -> Result<PublicIdentity, InvalidAnnounce> {
        Self::verify_all(&[*self]).pop().unwrap_or(Err(InvalidAnnounce::Malformed))?;
        PublicIdentity::from_slice(self.public_key).map_err(|_| InvalidAnnounce::Malformed)
    }

    /// Checks signature and address of each. Many at once cost about half as much; the verdicts are in the same order, and are
    /// those of [`verify`](Self::verify) but for signatures that only the key's owner can craft (docs/protocol/deviations.md).
    pub fn verify_all(announces: &[Self]) -> Vec<Result<(), InvalidAnnounce>> {
        let signed: Vec<_> = announces.iter().map(Self::signed).collect();
        let judge = |(this, verdict): (&Self, Verdict)| match verdict {
            Verdict::NoKey => Err(InvalidAnnounce::Malformed),
            Verdict::Bad => Err(InvalidAnnounce::Signature),
            Verdict::Good if single_hash(this.name, this.identity_hash()) != this.destination => {
                Err(InvalidAnnounce::Address)
            }
            Verdict::Good => Ok(()),
        };
        announces.iter().zip(batch::verify_all(&signed)).map(judge).collect()
    }

    fn signed(&self) -> Signed<'_, 6> {
        let (_, key) = self.public_key.split_last_chunk().unwrap_or((&[], &[0; 32]));
        let message =
            signed_data(&self.destination, self.public_key, &self.name, &self.random, self.ratchet, self.app_data);
        Signed { key, message, signature: self.signature }
    }
}

/// In the signed data the destination comes first and the header's other fields are absent.
fn signed_data<'a>(
    destination: &'a DestinationHash,
    public_key: &'a [u8; KEY_LEN],
    name: &'a NameHash,
    random: &'a RandomHash,
    ratchet: Option<&'a [u8; RATCHET_LEN]>,
    app_data: &'a [u8],
) -> [&'a [u8]; 6] {
    let ratchet: &[u8] = ratchet.map_or(&[], |ratchet| ratchet);
    [destination.as_ref(), public_key, name.as_ref(), random.as_bytes(), ratchet, app_data]
}

/// An announce cannot be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("app data of {len} bytes, at most {max} can be relayed")]
pub struct AppDataTooLarge {
    /// Length given.
    pub len: usize,
    /// Length allowed.
    pub max: usize,
}

/// Makes the announce of the destination that `identity` has under `name`, as its origin sends it.
///
/// `context` is [`Context::NONE`], or [`Context::PATH_RESPONSE`] when it answers a path request.
///
/// # Errors
/// When the app data is so long that no relay could carry the announce.
pub fn announce(
    identity: &Identity,
    name: NameHash,
    random: RandomHash,
    ratchet: Option<&[u8; RATCHET_LEN]>,
    app_data: &[u8],
    context: Context,
) -> Result<Packet, AppDataTooLarge> {
    let max = app_data_max(ratchet.is_some());
    if app_data.len() > max {
        return Err(AppDataTooLarge { len: app_data.len(), max });
    }
    let destination = single_hash(name, identity.hash());
    let public_key = identity.public().as_bytes();
    let signature = identity.sign(&signed_data(&destination, public_key, &name, &random, ratchet, app_data).concat());
    let flags = Flags::new(DestinationKind::Single, PacketKind::Announce);
    let ratchet_bytes: &[u8] = ratchet.map_or(&[], |ratchet| ratchet);
    let data: Bytes =
        [public_key, name.as_ref(), random.as_bytes(), ratchet_bytes, &signature, app_data].concat().into();
    Ok(Packet {
        flags: if ratchet.is_some() { flags.with_context_flag() } else { flags },
        hops: 0,
        transport_id: None,
        destination,
        context,
        data,
    })
}
