//! The genome: what nodes know how to do and tell each other about. Signed cards and manifests, publishing, the catalog,
//! its synchronisation between neighbours, and search by meaning. docs/protocol/mesh.md.
//!
//! Everything that decides does no I/O: bytes, time and randomness come in as arguments, actions go out as values. The
//! modules that read files for a person who publishes are [`publish`] and [`adapter`]; `model`, `index` and `embed` touch
//! files and processes too.
#![deny(clippy::unwrap_used, clippy::indexing_slicing, clippy::cast_possible_truncation, clippy::cast_sign_loss)]
#![cfg_attr(
    test,
    allow(
        clippy::unwrap_used,
        clippy::indexing_slicing,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a test may panic: that is how it fails"
    )
)]

pub mod adapter;
pub mod card;
pub mod catalog;
pub mod class;
pub mod embed;
pub mod entry;
pub mod gossip;
#[cfg(feature = "embeddings")]
pub mod index;
pub mod manifest;
pub mod model;
pub mod publish;
pub mod search;
pub mod verified;

#[cfg(test)]
mod testing;
