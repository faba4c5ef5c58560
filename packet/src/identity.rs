//! Identities: the key pairs that are a node's address. docs/protocol/1-core.md, section 1.

use ed25519_dalek::{Signature, Signer, SigningKey, Verifier, VerifyingKey};
use rand_core::CryptoRng;
use zeroize::Zeroizing;

use crate::crypto::{self, TokenError, TokenKey};
use crate::hash::{IdentityHash, RatchetId, sha256_head};
pub use crate::ratchet::{RATCHET_LEN, RatchetKey};

/// Length of private and public keys: an X25519 half, then an Ed25519 half.
pub const KEY_LEN: usize = 64;
/// Length of an Ed25519 signature.
pub const SIGNATURE_LEN: usize = 64;

/// Why bytes are not a usable identity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum IdentityError {
    /// Keys have exactly 64 bytes.
    #[error("an identity has exactly {KEY_LEN} bytes, found {len}")]
    Length {
        /// The length found.
        len: usize,
    },
    /// The signing half is no point on the curve.
    #[error("the signing key is not a valid Ed25519 public key")]
    SigningKey,
}

/// Why something could not be decrypted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DecryptError {
    /// Shorter than an ephemeral key and a token.
    #[error("ciphertext of {len} bytes is too short")]
    Short {
        /// The length found.
        len: usize,
    },
    /// No key that may be used opens it.
    #[error("no key opens this ciphertext")]
    NoKey,
}

/// The public half of an identity: encrypts to it, verifies its signatures.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct PublicIdentity {
    bytes: [u8; KEY_LEN],
    verifying: VerifyingKey,
    hash: IdentityHash,
}

impl core::fmt::Debug for PublicIdentity {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "PublicIdentity({:?})", self.hash)
    }
}

impl PublicIdentity {
    /// Reads X25519 public key and Ed25519 public key.
    ///
    /// # Errors
    /// When there are not 64 bytes or the signing half is not a curve point.
    pub fn from_slice(bytes: &[u8]) -> Result<Self, IdentityError> {
        let length = IdentityError::Length { len: bytes.len() };
        let bytes: [u8; KEY_LEN] = bytes.try_into().map_err(|_| length)?;
        let (_, signing) = bytes.split_last_chunk::<32>().ok_or(length)?;
        let verifying = VerifyingKey::from_bytes(signing).map_err(|_| IdentityError::SigningKey)?;
        Ok(Self { bytes, verifying, hash: IdentityHash::new(sha256_head(&[&bytes])) })
    }

    /// The 64 public key bytes.
    pub fn as_bytes(&self) -> &[u8; KEY_LEN] {
        &self.bytes
    }

    /// The X25519 public key.
    pub fn exchange_key(&self) -> &[u8; 32] {
        self.bytes.first_chunk().unwrap_or(&[0; 32])
    }

    /// The Ed25519 public key.
    pub fn signing_key(&self) -> &[u8; 32] {
        self.verifying.as_bytes()
    }

    /// The Ed25519 public key, as a point.
    pub(crate) fn verifying_key(&self) -> VerifyingKey {
        self.verifying
    }

    /// Who this is.
    pub fn hash(&self) -> IdentityHash {
        self.hash
    }

    /// Whether `signature` is this identity's over `message`; anything malformed is a plain no.
    pub fn verify(&self, message: &[u8], signature: &[u8]) -> bool {
        verify(&self.verifying, message, signature)
    }

    /// Encrypts to this identity, or to `ratchet` (an X25519 public key) when one is known for the destination.
    ///
    /// Returns `None` when the target key is of low order, which no honest peer publishes.
    /// docs/protocol/1-core.md, section 1.3.
    pub fn encrypt(
        &self,
        rng: &mut dyn CryptoRng,
        ratchet: Option<&[u8; RATCHET_LEN]>,
        plaintext: &[u8],
    ) -> Option<Vec<u8>> {
        let mut ephemeral = Zeroizing::new([0; 32]);
        let mut iv = [0; 16];
        rng.fill_bytes(ephemeral.as_mut());
        rng.fill_bytes(&mut iv);
        self.encrypt_with(&ephemeral, &iv, ratchet, plaintext)
    }

    /// [`PublicIdentity::encrypt`] with the ephemeral private key and the IV given.
    pub(crate) fn encrypt_with(
        &self,
        ephemeral: &[u8; 32],
        iv: &[u8; 16],
        ratchet: Option<&[u8; RATCHET_LEN]>,
        plaintext: &[u8],
    ) -> Option<Vec<u8>> {
        let prepared = self.prepare(ephemeral, ratchet)?;
        Some(prepared.encrypt(iv, plaintext))
    }

    /// The costly half of [`PublicIdentity::encrypt_with`].
    fn prepare(&self, ephemeral: &[u8; 32], ratchet: Option<&[u8; RATCHET_LEN]>) -> Option<Prepared> {
        let shared = crypto::agree(ephemeral, ratchet.unwrap_or(self.exchange_key()))?;
        Prepared::new(crypto::x25519_public(ephemeral), &shared, self.hash)
    }
}

/// Verifies with the rules that peers apply: a non-canonical S is refused, malformed input is a plain no.
pub(crate) fn verify(key: &VerifyingKey, message: &[u8], signature: &[u8]) -> bool {
    Signature::from_slice(signature).is_ok_and(|signature| key.verify(message, &signature).is_ok())
}

/// What encrypting takes beside the text: an ephemeral public key, and the key that its private half and the recipient's
/// key agree on. It does for one text; it is wiped when it is dropped.
#[derive(Debug)]
pub(crate) struct Prepared {
    ephemeral: [u8; 32],
    key: TokenKey,
}

impl Prepared {
    /// From an ephemeral public key and what its private half agreed on with a key of the identity `of`.
    pub(crate) fn new(ephemeral: [u8; 32], shared: &[u8; 32], of: IdentityHash) -> Option<Self> {
        Some(Self { ephemeral, key: derive(shared, of)? })
    }

    /// Ephemeral public key and token.
    pub(crate) fn encrypt(self, iv: &[u8; 16], plaintext: &[u8]) -> Vec<u8> {
        let mut out = self.ephemeral.to_vec();
        self.key.seal(iv, plaintext, &mut out);
        out
    }
}

/// The salt is always the identity's hash, also when a ratchet is the target.
fn derive(shared: &[u8; 32], salt: IdentityHash) -> Option<TokenKey> {
    let key = crypto::hkdf(KEY_LEN, shared, Some(salt.as_bytes()), &[]).ok()?;
    TokenKey::from_slice(&key).ok()
}

/// What [`Identity::decrypt`] found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decrypted {
    /// The plaintext.
    pub plaintext: Vec<u8>,
    /// Id of the ratchet that opened it; `None` when it was the identity's own key.
    pub ratchet: Option<RatchetId>,
}

/// A whole identity: decrypts and signs as well. Its private bytes are wiped when it is dropped.
#[derive(Clone)]
pub struct Identity {
    exchange: Zeroizing<[u8; 32]>,
    signing: SigningKey,
    public: PublicIdentity,
}

impl core::fmt::Debug for Identity {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "Identity({:?}, [secret])", self.public.hash)
    }
}

impl Identity {
    /// Makes a new identity; its two halves are independent random values.
    pub fn generate(rng: &mut dyn CryptoRng) -> Self {
        let mut private = Zeroizing::new([0; KEY_LEN]);
        rng.fill_bytes(private.as_mut());
        Self::from_private(&private)
    }

    fn from_private(private: &[u8; KEY_LEN]) -> Self {
        let (exchange, seed) = private.split_first_chunk::<32>().unwrap_or((&[0; 32], &[]));
        let exchange = Zeroizing::new(*exchange);
        let signing = SigningKey::from_bytes(seed.first_chunk().unwrap_or(&[0; 32]));
        let verifying = signing.verifying_key();
        let mut bytes = [0; KEY_LEN];
        let halves = crypto::x25519_public(&exchange).into_iter().chain(verifying.to_bytes());
        bytes.iter_mut().zip(halves).for_each(|(to, from)| *to = from);
        let public = PublicIdentity { bytes, verifying, hash: IdentityHash::new(sha256_head(&[&bytes])) };
        Self { exchange, signing, public }
    }

    /// Reads the private key bytes, which are also the whole content of an identity file.
    ///
    /// # Errors
    /// When there are not exactly 64 bytes.
    pub fn from_slice(bytes: &[u8]) -> Result<Self, IdentityError> {
        let private = bytes.try_into().map_err(|_| IdentityError::Length { len: bytes.len() })?;
        Ok(Self::from_private(private))
    }

    /// The private key bytes, as an identity file holds them.
    pub fn to_private_bytes(&self) -> Zeroizing<[u8; KEY_LEN]> {
        let mut bytes = Zeroizing::new([0; KEY_LEN]);
        let halves = self.exchange.iter().chain(self.signing.as_bytes());
        bytes.iter_mut().zip(halves).for_each(|(to, from)| *to = *from);
        bytes
    }

    /// The public half.
    pub fn public(&self) -> &PublicIdentity {
        &self.public
    }

    /// Who this is.
    pub fn hash(&self) -> IdentityHash {
        self.public.hash
    }

    /// Signs `message`; deterministic.
    pub fn sign(&self, message: &[u8]) -> [u8; SIGNATURE_LEN] {
        self.signing.sign(message).to_bytes()
    }

    /// The Ed25519 key, for links that sign with it.
    pub(crate) fn signing(&self) -> &SigningKey {
        &self.signing
    }

    /// Decrypts what was encrypted to this identity: with each ratchet, newest first, then (unless ratchets are enforced)
    /// with the identity's own key. docs/protocol/1-core.md, section 1.3.
    ///
    /// # Errors
    /// When the input is too short or no key that may be used opens it.
    pub fn decrypt(
        &self,
        ciphertext: &[u8],
        ratchets_newest_first: &[RatchetKey],
        enforce_ratchets: bool,
    ) -> Result<Decrypted, DecryptError> {
        let short = DecryptError::Short { len: ciphertext.len() };
        let (peer, token) = ciphertext.split_first_chunk::<32>().ok_or(short)?;
        if token.is_empty() {
            return Err(short);
        }
        let try_key = |private: &[u8; 32]| -> Result<Vec<u8>, TokenError> {
            let shared = crypto::agree(private, peer).ok_or(TokenError::Forged)?;
            derive(&shared, self.public.hash).ok_or(TokenError::Forged)?.open(token)
        };
        for ratchet in ratchets_newest_first {
            if let Ok(plaintext) = try_key(ratchet.private()) {
                return Ok(Decrypted { plaintext, ratchet: Some(ratchet.id()) });
            }
        }
        if enforce_ratchets {
            return Err(DecryptError::NoKey);
        }
        let plaintext = try_key(&self.exchange).map_err(|_| DecryptError::NoKey)?;
        Ok(Decrypted { plaintext, ratchet: None })
    }
}
