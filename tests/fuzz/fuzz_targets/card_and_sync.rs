//! Cards and sync messages of strangers: decoding never panics, and a dialogue with nonsense ends.
#![no_main]

use libfuzzer_sys::fuzz_target;
use wend_genome::card::CardRef;
use wend_genome::catalog::Catalog;
use wend_genome::entry::EntryId;
use wend_genome::gossip::message::{Request, Response, Shelf};
use wend_genome::gossip::sync::SyncAnswerer;
use wend_packet::IdentityHash;
use wend_packet::identity::PublicIdentity;

struct Empty;

impl Shelf for Empty {
    fn card(&self, _: &EntryId) -> Option<Vec<u8>> {
        None
    }

    fn key(&self, _: &IdentityHash) -> Option<PublicIdentity> {
        None
    }
}

fuzz_target!(|bytes: &[u8]| {
    if let Ok(card) = CardRef::parse(bytes) {
        assert_eq!(card.as_bytes(), bytes);
    }
    let mut rest = bytes;
    let Ok(value) = rmpv::decode::read_value_with_max_depth(&mut rest, 8) else { return };
    drop(Response::from_value(&value));
    if let Ok(request) = Request::from_value(&value) {
        assert_eq!(Request::from_value(&request.to_value()), Ok(request.clone()));
        let peer = IdentityHash::new([1; 16]);
        drop(SyncAnswerer::default().answer(peer, request, &Catalog::new(8, []), &Empty));
    }
});
