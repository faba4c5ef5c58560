//! The commands of Wend: how a call and its reply look on the wire, who may run what, and the commands every node knows.
//!
//! A command is a type ([`command::Command`]); the command line, the control socket and a remote node all send that type
//! inside an [`envelope::Call`]. Nothing here does I/O or asks for the time, except that a handler may do what it likes.
//! The wire formats are written down in `docs/protocol/mesh.md`.
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

pub mod access;
pub mod announce_data;
pub mod builtin;
pub mod command;
pub mod describe;
pub mod envelope;
pub mod failure;
pub mod json;
pub mod msgpack;
pub mod name;
pub mod nearest;
pub mod octets;
pub mod params;
pub mod policy;
pub mod registry;
pub mod replies;
pub mod value;

pub use access::{Access, Caller, Level};
pub use command::{Command, Handler};
pub use envelope::{Call, Reply};
pub use failure::{Code, Failure};
pub use name::CommandName;
pub use octets::{Blob, CatalogRoot, EntryId, ManifestHash, MessageId, PublicKey, Sketch, SpaceId};
pub use policy::{Decision, Policy};
pub use registry::{Duplicate, Registry};
pub use replies::Replies;
pub use value::Value;
