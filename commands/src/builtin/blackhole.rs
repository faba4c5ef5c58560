//! Commands about who is shut out of a node.

use wend_packet::IdentityHash;
use wend_packet::time::UnixTime;

use crate::access::Access;
use crate::describe::{command, record};

command! {
    /// Lists the identities that are shut out of this node.
    "node/blackhole", Access::Local => ListReply;
    pub struct List {}

    /// Shuts an identity out: no announces, paths or links of it.
    "node/blackhole-add", Access::Local => AddReply;
    pub struct Add {
        /// Whom.
        identity: IdentityHash,
        /// For so many hours; until it is removed when absent.
        hours: Option<u32>,
        /// Why, at most 200 bytes. Published with the list.
        reason: Option<String>,
    }

    /// Lets an identity in again. One that another node names comes back with that node's next list.
    "node/blackhole-remove", Access::Local => RemoveReply;
    pub struct Remove {
        /// Whom.
        identity: IdentityHash,
    }
}

record! {
    /// Who is shut out.
    pub struct ListReply {
        /// The entries, by identity.
        entries: Vec<Entry>,
    }

    /// An identity that is shut out.
    pub struct Entry {
        /// Who.
        identity: IdentityHash,
        /// Transport identity of the node that decided it.
        source: IdentityHash,
        /// Whether that is this node.
        own: bool,
        /// When it ends; until it is removed when absent.
        until: Option<UnixTime>,
        /// Why.
        reason: Option<String>,
    }

    /// An identity that was to be shut out.
    pub struct AddReply {
        /// Who.
        identity: IdentityHash,
        /// Whether that is new; false when it was shut out already and that entry stays.
        added: bool,
    }

    /// An identity that was to be let in again.
    pub struct RemoveReply {
        /// Who.
        identity: IdentityHash,
        /// Whether it was shut out.
        removed: bool,
    }
}
