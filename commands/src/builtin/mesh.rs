//! Commands that run something on another node: the owner's only, for they speak in the node's name.

use wend_packet::DestinationHash;

use crate::access::Access;
use crate::describe::{command, record};
use crate::name::CommandName;
use crate::value::Value;

command! {
    /// Runs a command on another node and gives its result. Requests a path, opens a link and identifies as far as that is
    /// needed. When the command fails there, this one fails with the same code and detail.
    "mesh/execute", Access::Local => ExecuteReply;
    pub struct Execute {
        /// Destination hash, the beginning of one that fits only one node, or an announced name.
        node: String,
        /// Name of the command.
        command: CommandName,
        /// Its parameters: a record; none when absent.
        params: Option<Value>,
        /// How long to wait, in seconds; the node's default when absent.
        deadline_s: Option<u32>,
    }

    /// Measures the way to another node and back.
    "mesh/ping", Access::Local => PingReply;
    pub struct Ping {
        /// Destination hash, the beginning of one that fits only one node, or an announced name.
        node: String,
        /// Bytes to send along, at most 256.
        payload_bytes: Option<u16>,
        /// How long to wait, in seconds; the node's default when absent.
        deadline_s: Option<u32>,
    }
}

record! {
    /// The result of a command on another node.
    pub struct ExecuteReply {
        /// Where it ran.
        destination: DestinationHash,
        /// Name that node announces; empty for none.
        name: String,
        /// Distance.
        hops: u8,
        /// From asking to the result, in milliseconds, path and link included.
        elapsed_ms: u64,
        /// The result.
        value: Value,
    }

    /// A ping that came back.
    pub struct PingReply {
        /// Which node answered.
        destination: DestinationHash,
        /// Name it announces; empty for none.
        name: String,
        /// Distance.
        hops: u8,
        /// Time until there was a path and a link, in milliseconds; 0 when there was a link already.
        setup_ms: u64,
        /// From the request to its answer on the open link, in milliseconds.
        round_trip_ms: u64,
    }
}
