//! Opening a segment while its parts arrive. docs/protocol/2-link.md, section 9.9, docs/decisions/0071-opened-while-arriving.md.

use core::ops::Range;

use sha2::{Digest, Sha256};

use super::PREFIX_LEN;
use crate::crypto::{Opening, Token, TokenError, TokenKey};

/// A stream of which more and more is there, in order: it is authenticated, decrypted and, where its content is not
/// compressed, hashed as it comes, while the rest is on its way.
pub(crate) struct Unsealing {
    token: Box<Opening>,
    /// Over the content; `None` where it has to be decompressed first.
    digest: Option<Sha256>,
    digested: usize,
}

// It holds plaintext, which has no place in a log.
impl core::fmt::Debug for Unsealing {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Unsealing")
    }
}

impl Unsealing {
    pub(crate) fn new(key: &TokenKey, compressed: bool) -> Self {
        Self {
            token: Box::new(Opening::new(key)),
            digest: (!compressed).then(Sha256::new),
            digested: Token::IV_LEN + PREFIX_LEN,
        }
    }

    /// `stream[..here]` is there, of `len` bytes in all.
    pub(crate) fn advance(&mut self, stream: &mut [u8], here: usize, len: usize) {
        self.token.advance(stream, here, len);
        // The last block holds padding, and which one is the last is known at the end.
        self.digest_up_to(stream, self.token.decrypted().saturating_sub(Token::BLOCK_LEN));
    }

    fn digest_up_to(&mut self, stream: &[u8], end: usize) {
        if let (Some(digest), Some(new)) = (&mut self.digest, stream.get(self.digested..end)) {
            digest.update(new);
            self.digested = end;
        }
    }

    /// All of the stream is there. Says where the payload is, and what is hashed so far of content that is not compressed:
    /// all of it.
    ///
    /// # Errors
    /// When it is not authentic, or too short.
    pub(crate) fn finish(mut self, stream: &mut [u8]) -> Result<(Range<usize>, Option<Sha256>), TokenError> {
        self.advance(stream, stream.len(), stream.len());
        let Self { token, digest, digested } = self;
        let plain = token.finish(stream)?;
        let payload = plain.start.saturating_add(PREFIX_LEN)..plain.end;
        if payload.start > payload.end {
            return Err(TokenError::Short { len: stream.len() });
        }
        let rest = stream.get(digested..payload.end).unwrap_or_default();
        Ok((payload, digest.map(|digest| digest.chain_update(rest))))
    }
}
