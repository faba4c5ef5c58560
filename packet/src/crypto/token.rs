//! Tokens: AES-CBC with HMAC-SHA256. docs/protocol/1-core.md, section 0.2.

use aes::cipher::block_padding::{NoPadding, Pkcs7};
use aes::cipher::{BlockModeDecrypt, BlockModeEncrypt, KeyIvInit};
use aes::{Aes128, Aes256};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use zeroize::{Zeroize, ZeroizeOnDrop};

const IV_LEN: usize = 16;
const MAC_LEN: usize = 32;

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

    fn mac(&self) -> Option<Hmac<Sha256>> {
        let key: &[u8] = match self {
            Self::Aes256 { mac, .. } => mac,
            Self::Aes128 { mac, .. } => mac,
        };
        <Hmac<Sha256> as KeyInit>::new_from_slice(key).ok()
    }

    /// Encrypts `plaintext` under a fresh random `iv` and appends the token to `out`.
    pub fn seal(&self, iv: &[u8; IV_LEN], plaintext: &[u8], out: &mut Vec<u8>) {
        let start = out.len();
        out.reserve(Token::sealed_len(plaintext.len()));
        out.extend_from_slice(iv);
        let ciphertext =
            match self {
                Self::Aes256 { cipher, .. } => cbc::Encryptor::<Aes256>::new(&(*cipher).into(), &(*iv).into())
                    .encrypt_padded_vec::<Pkcs7>(plaintext),
                Self::Aes128 { cipher, .. } => cbc::Encryptor::<Aes128>::new(&(*cipher).into(), &(*iv).into())
                    .encrypt_padded_vec::<Pkcs7>(plaintext),
            };
        out.extend_from_slice(&ciphertext);
        if let Some(mut mac) = self.mac() {
            mac.update(out.get(start..).unwrap_or_default());
            out.extend_from_slice(&mac.finalize().into_bytes());
        }
    }

    /// Verifies and decrypts a token.
    ///
    /// Unpadding looks at the last byte only, as peers do: above 16 is an error, 0 removes nothing.
    ///
    /// # Errors
    /// When the token is too short, not authentic (checked first, in constant time), or badly padded.
    pub fn open(&self, token: &[u8]) -> Result<Vec<u8>, TokenError> {
        let short = TokenError::Short { len: token.len() };
        let (signed, code) = token.split_last_chunk::<MAC_LEN>().ok_or(short)?;
        if signed.is_empty() {
            return Err(short);
        }
        let mut mac = self.mac().ok_or(short)?;
        mac.update(signed);
        mac.verify_slice(code).map_err(|_| TokenError::Forged)?;
        let (iv, ciphertext) = signed.split_first_chunk::<IV_LEN>().ok_or(short)?;
        let mut plain = match self {
            Self::Aes256 { cipher, .. } => cbc::Decryptor::<Aes256>::new(&(*cipher).into(), &(*iv).into())
                .decrypt_padded_vec::<NoPadding>(ciphertext),
            Self::Aes128 { cipher, .. } => cbc::Decryptor::<Aes128>::new(&(*cipher).into(), &(*iv).into())
                .decrypt_padded_vec::<NoPadding>(ciphertext),
        }
        .map_err(|_| TokenError::Padding)?;
        let padding = usize::from(*plain.last().ok_or(TokenError::Padding)?);
        if padding > 16 {
            return Err(TokenError::Padding);
        }
        plain.truncate(plain.len().saturating_sub(padding));
        Ok(plain)
    }
}
