//! How nodes bring their catalogs into agreement. docs/protocol/mesh.md, Catalog sync.

pub mod intake;
pub mod message;
pub mod reconcile;
pub mod sync;
