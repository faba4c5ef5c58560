//! Opening a token while it arrives. docs/protocol/1-core.md, section 0.2.

use core::ops::Range;

use aes::cipher::{BlockModeDecrypt, KeyIvInit};
use aes::{Aes128, Aes256};
use hmac::{Hmac, Mac};
use sha2::Sha256;

use super::token::{BLOCK_LEN, IV_LEN, MAC_LEN, TokenError, TokenKey, unpadded};

enum Cipher {
    Aes256(cbc::Decryptor<Aes256>),
    Aes128(cbc::Decryptor<Aes128>),
}

impl Cipher {
    fn new(key: &TokenKey, iv: &[u8; IV_LEN]) -> Self {
        match key {
            TokenKey::Aes256 { cipher, .. } => Self::Aes256(cbc::Decryptor::new(&(*cipher).into(), &(*iv).into())),
            TokenKey::Aes128 { cipher, .. } => Self::Aes128(cbc::Decryptor::new(&(*cipher).into(), &(*iv).into())),
        }
    }

    fn decrypt(&mut self, blocks: &mut [u8]) {
        let blocks = aes::Block::slice_as_chunks_mut(blocks).0;
        match self {
            Self::Aes256(mode) => mode.decrypt_blocks(blocks),
            Self::Aes128(mode) => mode.decrypt_blocks(blocks),
        }
    }
}

/// A token of which more and more is there. It is authenticated and decrypted where it stands, as it comes, so that little is
/// left to do when the last of it is there. Nothing may be done with the plaintext before [`Opening::finish`] has said that
/// it is authentic.
pub(crate) struct Opening {
    key: TokenKey,
    mac: Option<Hmac<Sha256>>,
    cipher: Option<Cipher>,
    authenticated: usize,
    decrypted: usize,
}

impl Opening {
    pub(crate) fn new(key: &TokenKey) -> Self {
        Self { key: key.clone(), mac: key.mac(), cipher: None, authenticated: 0, decrypted: 0 }
    }

    /// How far the token is decrypted, from its beginning.
    pub(crate) fn decrypted(&self) -> usize {
        self.decrypted
    }

    /// `token[..here]` is there, of `len` bytes in all.
    pub(crate) fn advance(&mut self, token: &mut [u8], here: usize, len: usize) {
        let signed = here.min(len.saturating_sub(MAC_LEN)).min(token.len());
        // What is decrypted next is ciphertext still, and has to be authenticated as that.
        if let (Some(mac), Some(new)) = (&mut self.mac, token.get(self.authenticated..signed)) {
            mac.update(new);
            self.authenticated = signed;
        }
        if let (None, true, Some(iv)) = (&self.cipher, signed >= IV_LEN, token.first_chunk()) {
            self.cipher = Some(Cipher::new(&self.key, iv));
            self.decrypted = IV_LEN;
        }
        let end = self.decrypted + signed.saturating_sub(self.decrypted) / BLOCK_LEN * BLOCK_LEN;
        if let (Some(cipher), Some(new)) = (&mut self.cipher, token.get_mut(self.decrypted..end)) {
            cipher.decrypt(new);
            self.decrypted = end;
        }
    }

    /// All of the token is there. Says where its plaintext is.
    ///
    /// # Errors
    /// As [`TokenKey::open_in_place`]; of a token that is refused nothing may be used.
    pub(crate) fn finish(mut self, token: &mut [u8]) -> Result<Range<usize>, TokenError> {
        self.advance(token, token.len(), token.len());
        let short = TokenError::Short { len: token.len() };
        let (signed, code) = token.split_last_chunk::<MAC_LEN>().ok_or(short)?;
        if signed.is_empty() {
            return Err(short);
        }
        self.mac.ok_or(short)?.verify_slice(code).map_err(|_| TokenError::Forged)?;
        let body = signed.get(IV_LEN..).ok_or(short)?;
        if body.len() % BLOCK_LEN != 0 {
            return Err(TokenError::Padding);
        }
        Ok(IV_LEN..IV_LEN + unpadded(body)?)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn opens_as_at_once_however_the_token_is_cut(
            plain in proptest::collection::vec(any::<u8>(), 0..200),
            steps in proptest::collection::vec(0_usize..90, 0..8),
            damage in proptest::option::of((any::<prop::sample::Index>(), 1..=255_u8)),
            cut in 0_usize..60,
            short: bool,
        ) {
            let key = TokenKey::from_slice(if short { &[7; 32] } else { &[7; 64] }).unwrap();
            let mut token = Vec::new();
            key.seal(&[9; IV_LEN], &plain, &mut token);
            if let Some((at, by)) = damage {
                let at = at.index(token.len());
                token[at] ^= by;
                token.truncate(token.len().saturating_sub(cut));
            }
            let at_once = key.open(&token);
            let (mut opening, len, mut here) = (Opening::new(&key), token.len(), 0);
            for step in steps {
                here = (here + step).min(len);
                opening.advance(&mut token, here, len);
            }
            let opened = opening.finish(&mut token).map(|range| token[range].to_vec());
            prop_assert_eq!(&opened, &at_once);
            if damage.is_none() {
                prop_assert_eq!(opened, Ok(plain));
            }
        }
    }
}
