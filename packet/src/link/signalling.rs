//! MTU and mode of a link in 3 bytes. docs/protocol/2-link.md, section 2.2.

use super::Refused;
use crate::wire;

/// What request and proof of a link say about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Signalling {
    /// Largest frame on the link, in bytes; 0 stands for 500. The field has 21 bits.
    pub mtu: usize,
    /// Encryption mode, 0 to 7. Only [`Signalling::AES_256_CBC`] is enabled.
    pub mode: u8,
}

impl Signalling {
    /// Length on the wire.
    pub const LEN: usize = 3;
    /// The one mode that is enabled.
    pub const AES_256_CBC: u8 = 1;
    const MTU_MASK: u32 = 0x1f_ffff;
    /// Largest MTU the field holds.
    pub const MTU_MAX: usize = Self::MTU_MASK as usize;

    /// Signals `mtu` in the enabled mode.
    pub const fn new(mtu: usize) -> Self {
        Self { mtu, mode: Self::AES_256_CBC }
    }

    /// The three bytes; an MTU over 21 bits loses its upper bits.
    pub const fn encode(self) -> [u8; Self::LEN] {
        let [_, _, _, _, _, high, middle, low] = (self.mtu as u64 & Self::MTU_MASK as u64).to_be_bytes();
        [self.mode << 5 | high, middle, low]
    }

    /// Reads the three bytes.
    pub const fn decode(bytes: [u8; Self::LEN]) -> Self {
        let [high, middle, low] = bytes;
        Self { mtu: u32::from_be_bytes([0, high & 0x1f, middle, low]) as usize, mode: high >> 5 }
    }

    /// The link MTU that is meant: 0 means the default.
    pub const fn link_mtu(self) -> usize {
        if self.mtu == 0 { wire::MTU } else { self.mtu }
    }

    /// Lowers the MTU to `limit`. `None`: nothing to change, the bytes go on as they are.
    ///
    /// # Errors
    /// When the MTU would have to be rewritten but the mode is not enabled; such a request is dropped.
    pub const fn clamp(self, limit: usize) -> Result<Option<Self>, Refused> {
        if self.mtu == 0 || self.mtu <= limit {
            return Ok(None);
        }
        if self.mode != Self::AES_256_CBC {
            return Err(Refused::Mode { mode: self.mode });
        }
        Ok(Some(Self { mtu: limit, mode: self.mode }))
    }
}
