//! How one end of a link behaves. docs/protocol/2-link.md, sections 5, 6 and 9.4.

use super::{Link, ResourceStrategy};
use crate::resource::SEGMENT_MAX;

/// Largest request that is taken from a peer who has not identified, in bytes, unless [`LinkOptions`] say otherwise. Memory
/// for more is not a stranger's to take.
pub const MAX_REQUEST_UNIDENTIFIED: usize = 16 * 1024;

/// Whether data packets are proved to their sender. docs/protocol/2-link.md, section 5.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ProofStrategy {
    /// No packet is proved.
    #[default]
    None,
    /// Every packet is proved.
    All,
    /// The application decides for each packet. On links, where it is not asked, none is proved.
    Application,
}

/// How one end of a link behaves.
#[derive(Debug, Clone, Copy)]
pub struct LinkOptions {
    /// Whether data packets are proved.
    pub proofs: ProofStrategy,
    /// Which resources outside requests are taken.
    pub resources: ResourceStrategy,
    /// Largest request to take, in bytes of its packed form.
    pub max_request: usize,
    /// The same for as long as nobody knows who the peer is, where that is less.
    pub max_request_unidentified: usize,
    /// Most bytes a compressed segment may grow to.
    pub decompression_limit: usize,
    /// Whether what this end offers says that it is ready for the answer; else it is written byte for byte as the reference
    /// does, and peers of this kind take it for such a one. docs/protocol/mesh.md, Links.
    pub says_ready: bool,
}

impl Default for LinkOptions {
    /// Nothing is proved, no resource outside requests is taken, requests have at most the bytes of one segment, those of
    /// strangers [`MAX_REQUEST_UNIDENTIFIED`] bytes.
    fn default() -> Self {
        Self {
            proofs: ProofStrategy::None,
            resources: ResourceStrategy::None,
            max_request: SEGMENT_MAX,
            max_request_unidentified: MAX_REQUEST_UNIDENTIFIED,
            decompression_limit: SEGMENT_MAX,
            says_ready: true,
        }
    }
}

impl Link {
    /// How this end behaves.
    pub const fn options(&self) -> LinkOptions {
        self.options
    }

    /// Changes how this end behaves from now on.
    pub fn set_options(&mut self, options: LinkOptions) {
        self.options = options;
    }

    /// Largest request to take from the peer as it is known now.
    pub(super) fn max_request(&self) -> usize {
        match self.remote {
            Some(_) => self.options.max_request,
            None => self.options.max_request.min(self.options.max_request_unidentified),
        }
    }
}
