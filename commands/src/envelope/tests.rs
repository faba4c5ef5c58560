use proptest::prelude::*;

use super::*;
use crate::value::tests::any_value;

const ID: MessageId = MessageId::new(*b"0123456789abcdef");

fn call() -> Call {
    Call::untyped(ID, "node/ping".parse().unwrap(), &Value::Map(vec![("size".into(), 5.into())]), 30)
}

/// The bytes of an envelope with these elements after the version.
fn raw(version: u8, elements: &[&[u8]]) -> Vec<u8> {
    let len = u8::try_from(elements.len() + 1).unwrap();
    [&[0x90 | len, version], elements.concat().as_slice()].concat()
}

const ID_BIN: &[u8] = b"\xc4\x100123456789abcdef";

#[test]
fn a_call_is_these_bytes() {
    let bytes = call().encode();
    assert_eq!(&bytes[..], raw(1, &[ID_BIN, b"\xa9node/ping", b"\x81\xa4size\x05", b"\x1e", b"\xc0"]));
    assert_eq!(Call::decode(&bytes), Ok(call()));
}

#[test]
fn a_reply_is_these_bytes() {
    let good = Reply { id: ID, outcome: Ok(Bytes::from_static(&[0x2a])) };
    assert_eq!(&good.encode()[..], raw(1, &[ID_BIN, b"\x00", b"\x2a"]));
    assert_eq!(good.value(), Ok(Value::Unsigned(42)));
    let failed = Reply::failed(ID, Failure::denied("no"));
    assert_eq!(&failed.encode()[..], raw(1, &[ID_BIN, b"\x02", b"\x81\xa6detail\xa2no"]));
    for reply in [good, failed] {
        assert_eq!(Reply::decode(&reply.encode()), Ok(reply));
    }
}

#[test]
fn bytes_after_the_envelope_are_ignored() {
    let bytes = [&call().encode()[..], b"more"].concat();
    assert_eq!(Call::decode(&bytes), Ok(call()));
}

#[test]
fn what_has_another_version_or_no_id_is_ignored() {
    let other = raw(2, &[ID_BIN]);
    assert_eq!(Call::decode(&other), Err(Ignored::Version(2).into()));
    assert_eq!(Reply::decode(&other), Err(Ignored::Version(2)));
    for bad in [&b""[..], b"\x01", b"\x96", b"\x96\xa11", b"\x95\x01", &raw(1, &[b"\xc4\x01x", b"", b"", b"", b""])] {
        assert!(matches!(Call::decode(bad), Err(InvalidCall::Ignored(Ignored::Malformed(_)))), "{bad:02x?}");
        assert!(matches!(Reply::decode(bad), Err(Ignored::Malformed(_))), "{bad:02x?}");
    }
    let long = vec![0; MAX_LEN + 1];
    assert_eq!(Reply::decode(&long), Err(Ignored::TooLong { len: MAX_LEN + 1 }));
}

#[test]
fn a_call_that_is_wrong_behind_its_id_can_be_answered() {
    let deep = [vec![0x91; 40], vec![0xc0]].concat();
    let cases: [(&[&[u8]], &str); 6] = [
        (&[ID_BIN, b"\x05", b"\xc0", b"\x00", b"\xc0"], "expected the name of a command"),
        (&[ID_BIN, b"\xa4Node", b"\xc0", b"\x00", b"\xc0"], "a command is named like"),
        (&[ID_BIN, b"\xa3a/b", &deep, b"\x00", b"\xc0"], "nested too deep"),
        (&[ID_BIN, b"\xa3a/b", b"\xc0", b"\xff", b"\xc0"], "expected a deadline in whole seconds"),
        (&[ID_BIN, b"\xa3a/b", b"\xc0", b"\xcf\x01\x00\x00\x00\x00\x00\x00\x00", b"\xc0"], "a deadline of at most"),
        (&[ID_BIN, b"\xa3a/b", b"\xc0", b"\x00", b""], "the bytes end"),
    ];
    for (elements, detail) in cases {
        let Err(InvalidCall::Refused(failure, id)) = Call::decode(&raw(1, elements)) else { panic!("{elements:02x?}") };
        assert_eq!((id, failure.code), (ID, Code::INVALID));
        assert!(failure.detail.starts_with(detail), "{}", failure.detail);
    }
}

#[test]
fn a_grant_is_kept_as_it_is() {
    let with = Call { grant: Some(Bytes::from_static(&[0x91, 0x07])), ..call() };
    assert_eq!(Call::decode(&with.encode()), Ok(with));
}

#[test]
fn a_failure_without_detail_and_one_of_a_later_version_are_understood() {
    let reply = Reply::decode(&raw(1, &[ID_BIN, b"\x06", b"\xc0"])).unwrap();
    assert_eq!(reply.outcome, Err(Failure::busy("")));
    let reply = Reply::decode(&raw(1, &[ID_BIN, b"\x63", b"\x82\xa1x\x01\xa6detail\xa2hm"])).unwrap();
    assert_eq!(reply.outcome.unwrap_err().to_string(), "code 99: hm");
}

#[test]
fn a_result_of_another_shape_is_the_nodes_failure() {
    let reply = Reply { id: ID, outcome: Ok(Bytes::from_static(&[0x2a])) };
    assert_eq!(reply.result::<String>().unwrap_err().code, Code::INTERNAL);
    assert_eq!(reply.result::<u8>(), Ok(42));
}

#[test]
fn a_deadline_of_zero_is_the_default() {
    assert_eq!(Call { deadline_s: 0, ..call() }.deadline(Duration::from_secs(9)), Duration::from_secs(9));
    assert_eq!(call().deadline(Duration::from_secs(9)), Duration::from_secs(30));
}

proptest! {
    #[test]
    fn calls_survive_the_wire(id: [u8; 16], name in "[a-z0-9-]{1,20}(/[a-z0-9-]{1,10}){1,3}", params in any_value(), deadline_s: u32) {
        let call = Call::untyped(id.into(), name.parse().unwrap(), &params, deadline_s);
        prop_assert_eq!(Call::decode(&call.encode()), Ok(call));
    }

    #[test]
    fn replies_survive_the_wire(id: [u8; 16], value in any_value(), code in 0_u8.., detail in "\\PC{0,90}") {
        let outcome = match Code::from_number(code) {
            None => Ok(value.to_msgpack().into()),
            Some(code) => Err(Failure::new(code, detail)),
        };
        let reply = Reply { id: id.into(), outcome };
        prop_assert_eq!(Reply::decode(&reply.encode()), Ok(reply));
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = Call::decode(&bytes);
        let _ = Reply::decode(&bytes);
    }

    #[test]
    fn a_damaged_call_is_read_or_refused(at in 0_usize..40, byte: u8, cut in 0_usize..50) {
        let mut bytes = call().encode().to_vec();
        if let Some(place) = bytes.get_mut(at) {
            *place = byte;
        }
        bytes.truncate(cut);
        let _ = Call::decode(&bytes);
    }
}
