//! Meshes of Wend's production state machines in virtual time.
//!
//! Every node is a real [`Stack`](wend_packet::stack::Stack) with real bytes and real cryptography; only time, randomness
//! and media are made up. The same seed gives the same run, to the byte. docs/simulator.md says how to write a scenario
//! and what the media model.

pub mod measure;
pub mod medium;
pub mod plot;
pub mod random;
pub mod report;
pub mod scenario;
pub mod scenarios;
pub mod world;
