//! The machine that routes: interfaces, paths, announces, forwarding, links. docs/protocol/1-core.md, sections 3 to 5.

mod io;

pub use io::{
    Event, Input, InterfaceId, InterfaceProfile, LinkCloseReason, Mode, Output, PathRecord, RequestError, Role, Transmit,
};
