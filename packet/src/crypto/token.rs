//! Tokens: AES-CBC with HMAC-SHA256. docs/protocol/1-core.md, section 0.2.

use aes::cipher::{BlockModeDecrypt, BlockModeEncrypt, KeyIvInit};
use aes::{Aes128, Aes256};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use zeroize::{Zeroize, ZeroizeOnDrop};

pub(super) const IV_LEN: usize = 16;
pub(super) const MAC_LEN: usize = 32;
pub(super) const BLOCK_LEN: usize = 16;
/// Bytes that are ciphered and then authenticated: whole blocks that fit the processor's nearest cache.
const CACHED_LEN: usize = 8192;

/// A symmetric key, split into its HMAC half and its cipher half. Keys are not compared: that would take time that tells
/// about them.
///
/// ```compile_fail,E0277
/// fn compare<T: PartialEq>() {}
/// compare::<wend_packet::crypto::TokenKey>();
/// ```
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub enum TokenKey {
    /// 64 bytes: AES-256-CBC.
    Aes256 {
        /// HMAC key.
        mac: [u8; 32],
        /// Cipher key.
        cipher: [u8; 32],
    },
    /// 32 bytes, legacy: AES-128-CBC.
    Aes128 {
        /// HMAC key.
        mac: [u8; 16],
        /// Cipher key.
        cipher: [u8; 16],
    },
}

impl core::fmt::Debug for TokenKey {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("[secret]")
    }
}

/// Why a token or its key was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// A token key has 32 or 64 bytes.
    #[error("a token key has 32 or 64 bytes, not {len}")]
    KeyLength {
        /// The length found.
        len: usize,
    },
    /// Too short to hold IV, one block and code.
    #[error("token of {len} bytes is too short")]
    Short {
        /// The length found.
        len: usize,
    },
    /// The authentication code does not match.
    #[error("token is not authentic")]
    Forged,
    /// Not a whole number of blocks, or padding longer than a block.
    #[error("token decrypts to a malformed text")]
    Padding,
}

/// Bytes of a token around its ciphertext: IV and code.
pub struct Token;

impl Token {
    /// IV and authentication code together; padding adds 1 to 16 more.
    pub const OVERHEAD: usize = IV_LEN + MAC_LEN;

    /// Bytes of the IV, which comes first.
    pub(crate) const IV_LEN: usize = IV_LEN;

    /// Bytes of one block of ciphertext. The last one holds the padding.
    pub(crate) const BLOCK_LEN: usize = BLOCK_LEN;

    /// Length of the token for a plaintext of `len` bytes.
    pub const fn sealed_len(len: usize) -> usize {
        Self::OVERHEAD + (len / 16 + 1) * 16
    }
}

impl core::fmt::Debug for Token {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Token")
    }
}

impl TokenKey {
    /// Splits key bytes: the first half authenticates, the second encrypts.
    ///
    /// # Errors
    /// When there are not 32 or 64 bytes.
    pub fn from_slice(bytes: &[u8]) -> Result<Self, TokenError> {
        let wrong = TokenError::KeyLength { len: bytes.len() };
        let (mac, cipher) = bytes.split_at_checked(bytes.len() / 2).ok_or(wrong)?;
        match bytes.len() {
            64 => Ok(Self::Aes256 {
                mac: mac.try_into().map_err(|_| wrong)?,
                cipher: cipher.try_into().map_err(|_| wrong)?,
            }),
            32 => Ok(Self::Aes128 {
                mac: mac.try_into().map_err(|_| wrong)?,
                cipher: cipher.try_into().map_err(|_| wrong)?,
            }),
            _ => Err(wrong),
        }
    }

    pub(super) fn mac(&self) -> Option<Hmac<Sha256>> {
        let key: &[u8] = match self {
            Self::Aes256 { mac, .. } => mac,
            Self::Aes128 { mac, .. } => mac,
        };
        <Hmac<Sha256> as KeyInit>::new_from_slice(key).ok()
    }

    /// Encrypts `plaintext` under a fresh random `iv` and appends the token to `out`.
    pub fn seal(&self, iv: &[u8; IV_LEN], plaintext: &[u8], out: &mut Vec<u8>) {
        self.seal_pieces(iv, &[plaintext], out);
    }

    /// Encrypts the concatenation of `pieces` under a fresh random `iv` and appends the token to `out`. Each byte is copied
    /// once, into its place; ciphering and authenticating take turns while it is in the processor's cache.
    pub fn seal_pieces(&self, iv: &[u8; IV_LEN], pieces: &[&[u8]], out: &mut Vec<u8>) {
        let len = pieces.iter().map(|piece| piece.len()).sum();
        let start = out.len();
        out.reserve(Token::sealed_len(len));
        out.extend_from_slice(iv);
        for piece in pieces {
            out.extend_from_slice(piece);
        }
        let padding = BLOCK_LEN - len % BLOCK_LEN;
        out.resize(out.len() + padding, u8::try_from(padding).unwrap_or_default());
        let Some(mut mac) = self.mac() else { return };
        mac.update(iv);
        let body = out.get_mut(start + IV_LEN..).unwrap_or_default();
        match self {
            Self::Aes256 { cipher, .. } => {
                encrypt_in_place(cbc::Encryptor::<Aes256>::new(&(*cipher).into(), &(*iv).into()), body, &mut mac);
            }
            Self::Aes128 { cipher, .. } => {
                encrypt_in_place(cbc::Encryptor::<Aes128>::new(&(*cipher).into(), &(*iv).into()), body, &mut mac);
            }
        }
        out.extend_from_slice(&mac.finalize().into_bytes());
    }

    /// Verifies and decrypts a token.
    ///
    /// Unpadding looks at the last byte only, as peers do: above 16 is an error, 0 removes nothing.
    ///
    /// # Errors
    /// When the token is too short, not authentic (checked first, in constant time), or badly padded.
    pub fn open(&self, token: &[u8]) -> Result<Vec<u8>, TokenError> {
        let ciphertext = self.authentic(token)?;
        let mut plain = token.get(ciphertext).unwrap_or_default().to_vec();
        let iv = token.first_chunk::<IV_LEN>().ok_or(TokenError::Short { len: token.len() })?;
        let len = self.decrypt(iv, &mut plain)?;
        plain.truncate(len);
        Ok(plain)
    }

    /// Verifies and decrypts a token where it is: the plaintext is what the returned range of it holds then.
    ///
    /// # Errors
    /// As [`TokenKey::open`]. A token that is not authentic stays as it is.
    pub fn open_in_place(&self, token: &mut [u8]) -> Result<core::ops::Range<usize>, TokenError> {
        let ciphertext = self.authentic(token)?;
        let short = TokenError::Short { len: token.len() };
        let (iv, rest) = token.split_first_chunk_mut::<IV_LEN>().ok_or(short)?;
        let body = rest.get_mut(..ciphertext.len()).ok_or(short)?;
        let len = self.decrypt(iv, body)?;
        Ok(ciphertext.start..ciphertext.start + len)
    }

    /// Where the ciphertext stands in a token whose code is right.
    fn authentic(&self, token: &[u8]) -> Result<core::ops::Range<usize>, TokenError> {
        let short = TokenError::Short { len: token.len() };
        let (signed, code) = token.split_last_chunk::<MAC_LEN>().ok_or(short)?;
        if signed.is_empty() {
            return Err(short);
        }
        let mut mac = self.mac().ok_or(short)?;
        mac.update(signed);
        mac.verify_slice(code).map_err(|_| TokenError::Forged)?;
        if signed.len() < IV_LEN { Err(short) } else { Ok(IV_LEN..signed.len()) }
    }

    /// Decrypts in place and gives the length without padding.
    fn decrypt(&self, iv: &[u8; IV_LEN], body: &mut [u8]) -> Result<usize, TokenError> {
        let (blocks, rest) = aes::Block::slice_as_chunks_mut(body);
        if !rest.is_empty() {
            return Err(TokenError::Padding);
        }
        match self {
            Self::Aes256 { cipher, .. } => {
                cbc::Decryptor::<Aes256>::new(&(*cipher).into(), &(*iv).into()).decrypt_blocks(blocks);
            }
            Self::Aes128 { cipher, .. } => {
                cbc::Decryptor::<Aes128>::new(&(*cipher).into(), &(*iv).into()).decrypt_blocks(blocks);
            }
        }
        unpadded(body)
    }
}

/// The length of a decrypted body without its padding, of which only the last byte is looked at.
pub(super) fn unpadded(body: &[u8]) -> Result<usize, TokenError> {
    let padding = usize::from(*body.last().ok_or(TokenError::Padding)?);
    if padding > BLOCK_LEN {
        return Err(TokenError::Padding);
    }
    Ok(body.len().saturating_sub(padding))
}

/// Encrypts whole blocks in place, piece by piece, each authenticated while it is in the cache.
fn encrypt_in_place<M: BlockModeEncrypt<BlockSize = aes::cipher::consts::U16>>(
    mut mode: M,
    body: &mut [u8],
    mac: &mut Hmac<Sha256>,
) {
    for piece in body.chunks_mut(CACHED_LEN) {
        mode.encrypt_blocks(aes::Block::slice_as_chunks_mut(piece).0);
        mac.update(piece);
    }
}
