//! How nodes bring their catalogs into agreement. docs/protocol/mesh.md, Catalog sync.

pub mod reconcile;
