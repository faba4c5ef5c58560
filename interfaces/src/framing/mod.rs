//! Framing: where one packet ends and the next begins on a medium that carries only a stream of bytes.
//!
//! Everything here is pure and incremental. The frames that come out depend only on the bytes that went in, never on how
//! they were cut into chunks.

pub mod hdlc;
