//! Brine against the bytes of real rpyc, and its properties.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::cast_possible_truncation,
    reason = "a test fails by panicking"
)]

use proptest::prelude::*;
use rpyc_protocol::Limits;
use rpyc_protocol::brine::{
    DecodeErrorKind, Extent, FrozenSet, Int, Token, Tokens, Value, decode, decode_prefix,
};

fn unhex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> =
        text.chars().filter_map(|digit| digit.to_digit(16)).map(|digit| digit as u8).collect();
    digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect()
}

/// The value that a vector's JSON describes.
fn described(json: &serde_json::Value) -> Value {
    let (kind, content) = json.as_object().unwrap().iter().next().unwrap();
    let text = || content.as_str().unwrap();
    let members = || content.as_array().unwrap().iter().map(described).collect::<Vec<_>>();
    let bits = |hex: &str| f64::from_bits(u64::from_str_radix(hex, 16).unwrap());
    match kind.as_str() {
        "none" => Value::None,
        "bool" => Value::Bool(content.as_bool().unwrap()),
        "notimpl" => Value::NotImplemented,
        "ellipsis" => Value::Ellipsis,
        "int" => Value::Int(text().parse().unwrap()),
        "float_bits" => Value::Float(bits(text())),
        "complex_bits" => Value::Complex(bits(&text()[..16]), bits(&text()[16..])),
        "bytes" => Value::Bytes(unhex(text())),
        "str" => Value::Str(text().to_owned()),
        "tuple" => Value::Tuple(members()),
        "frozenset" => Value::FrozenSet(FrozenSet(members())),
        "slice" => Value::Slice(Box::new(members().try_into().unwrap())),
        other => panic!("a kind that this test does not know: {other}"),
    }
}

#[test]
fn every_vector_of_real_rpyc_decodes_and_encodes() {
    let vectors: Vec<serde_json::Value> =
        serde_json::from_str(include_str!("data/brine.json")).unwrap();
    assert_eq!(vectors.len(), 82);
    for vector in &vectors {
        let bytes = unhex(vector["hex"].as_str().unwrap());
        let value = described(&vector["value"]);
        assert_eq!(decode(&bytes, &Limits::DEFAULT).as_ref(), Ok(&value), "{vector}");
        match value {
            // Python's order of a set's members is arbitrary; the decoded order must be kept.
            Value::FrozenSet(_) => {
                let decoded = decode(&bytes, &Limits::DEFAULT).unwrap();
                assert_eq!(decoded.to_bytes().unwrap(), bytes, "{vector}");
            }
            value => assert_eq!(value.to_bytes().unwrap(), bytes, "{vector}"),
        }
    }
}

#[test]
fn longer_forms_are_accepted() {
    let cases: [(&str, Value); 9] = [
        ("1400", Value::Tuple(vec![])),
        ("1500000000", Value::Tuple(vec![])),
        ("160135", Value::from(5)),
        ("17000000022d35", Value::from(-5)),
        ("1603303035", Value::from(5)),
        ("16022b35", Value::from(5)),
        ("0e00", Value::Bytes(vec![])),
        ("080f0000000161", Value::from("a")),
        ("191403515253", Value::Slice(Box::new([1.into(), 2.into(), 3.into()]))),
    ];
    for (hex, value) in cases {
        assert_eq!(decode(&unhex(hex), &Limits::DEFAULT), Ok(value), "{hex}");
    }
}

#[test]
fn malformed_bytes_are_named_and_placed() {
    use DecodeErrorKind as Kind;
    let cases = [
        ("", Kind::Truncated, 0),
        ("07", Kind::UnknownTag(0x07), 0),
        ("09160135", Kind::UnknownTag(0x09), 0),
        ("1c", Kind::UnknownTag(0x1c), 0),
        ("f0", Kind::UnknownTag(0xf0), 0),
        ("1107", Kind::Truncated, 2),
        ("110007", Kind::UnknownTag(0x07), 2),
        ("0e05616263", Kind::Truncated, 5),
        ("16053130", Kind::Truncated, 4),
        ("1851", Kind::Truncated, 2),
        ("1b0000000000000000", Kind::Truncated, 9),
        ("15ffffffff", Kind::Truncated, 5),
        ("0fffffffff", Kind::Truncated, 5),
        ("0851", Kind::BadText, 1),
        ("080bc328", Kind::BadUtf8, 2),
        ("080ceda080", Kind::BadUtf8, 2),
        ("1600", Kind::BadInt, 2),
        ("16012d", Kind::BadInt, 2),
        ("16033120 30", Kind::BadInt, 2),
        ("1603315f30", Kind::BadInt, 2),
        ("1911 5152", Kind::BadSlice, 0),
        ("1951", Kind::BadSlice, 0),
        ("1a51", Kind::BadSet, 0),
        ("5151", Kind::TrailingBytes, 1),
    ];
    for (hex, kind, offset) in cases {
        let error = decode(&unhex(hex), &Limits::DEFAULT).unwrap_err();
        assert_eq!((error.kind, error.offset), (kind, offset), "{hex}");
    }
}

#[test]
fn each_limit_holds_at_its_edge() {
    let nested = |levels: usize| [vec![0x10; levels], vec![0x00]].concat();
    let limits = Limits { depth: 5, ..Limits::DEFAULT };
    assert!(decode(&nested(5), &limits).is_ok());
    assert_eq!(decode(&nested(6), &limits).unwrap_err().kind, DecodeErrorKind::TooDeep);

    let limits = Limits { bytes: 4, ..Limits::DEFAULT };
    assert!(decode(b"\x0c123", &limits).is_ok());
    assert_eq!(decode(b"\x0d1234", &limits).unwrap_err().kind, DecodeErrorKind::TooLong);

    let limits = Limits { items: 3, ..Limits::DEFAULT };
    assert!(decode(b"\x11\x50\x50", &limits).is_ok());
    assert_eq!(
        decode(b"\x12\x50\x50\x50", &limits).unwrap_err().kind,
        DecodeErrorKind::TooManyItems
    );

    let int = |digits: usize| [vec![0x16, digits as u8 + 1, b'-'], vec![b'7'; digits]].concat();
    let limits = Limits { int_digits: 30, ..Limits::DEFAULT };
    assert!(decode(&int(30), &limits).is_ok());
    assert_eq!(decode(&int(31), &limits).unwrap_err().kind, DecodeErrorKind::IntTooLong);
}

#[test]
fn deep_nesting_within_the_input_does_not_overflow_the_stack() {
    let deep = vec![0x10; 1 << 20];
    let error = decode(&deep, &Limits::DEFAULT).unwrap_err();
    assert_eq!(error.kind, DecodeErrorKind::TooDeep);
    let mut tokens = Tokens::new(&deep, &Limits { items: 1 << 21, ..Limits::DEFAULT }).unwrap();
    assert_eq!(tokens.skip(1).unwrap_err().kind, DecodeErrorKind::Truncated);
}

#[test]
fn tokens_borrow_from_the_input() {
    let bytes = b"\x12\x08\x0d\x52\x50\x59\x43\x57\x1a\x10\x01";
    let mut tokens = Tokens::new(bytes, &Limits::DEFAULT).unwrap();
    assert_eq!(tokens.next_token(), Ok(Token::Tuple(3)));
    assert_eq!(tokens.next_token(), Ok(Token::Str("RPYC")));
    let Token::Int(int) = tokens.next_token().unwrap() else { panic!("an int") };
    assert_eq!(int.to_i64(), Some(7));
    assert_eq!(tokens.next_token(), Ok(Token::FrozenSet(1)));
    assert_eq!(tokens.next_token(), Ok(Token::Bytes(b"")));
    assert_eq!(tokens.offset(), bytes.len());
}

#[test]
fn equality_is_that_of_the_wire() {
    let set = |members: &[i64]| {
        Value::FrozenSet(FrozenSet(members.iter().copied().map(Value::from).collect()))
    };
    assert_eq!(set(&[1, 2, 3]), set(&[3, 1, 2]));
    assert_ne!(set(&[1, 2, 3]), set(&[3, 1, 1]));
    assert_ne!(Value::Float(0.0), Value::Float(-0.0));
    assert_eq!(Value::Float(f64::NAN), Value::Float(f64::NAN));
    assert_ne!(Value::Bool(true), Value::from(1));
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::None),
        Just(Value::NotImplemented),
        Just(Value::Ellipsis),
        any::<bool>().prop_map(Value::Bool),
        any::<i64>().prop_map(Value::from),
        (-100i64..200).prop_map(Value::from),
        "-?[1-9][0-9]{0,300}".prop_map(|text| Value::Int(text.parse::<Int>().unwrap())),
        any::<u64>().prop_map(|bits| Value::Float(f64::from_bits(bits))),
        (any::<f64>(), any::<f64>()).prop_map(|(real, imaginary)| Value::Complex(real, imaginary)),
        prop::collection::vec(any::<u8>(), 0..300).prop_map(Value::Bytes),
        ".{0,100}".prop_map(Value::Str),
    ];
    leaf.prop_recursive(6, 60, 12, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..12).prop_map(Value::Tuple),
            prop::collection::vec(inner.clone(), 0..6)
                .prop_map(|members| Value::FrozenSet(FrozenSet(members))),
            (inner.clone(), inner.clone(), inner)
                .prop_map(|(start, stop, step)| Value::Slice(Box::new([start, stop, step]))),
        ]
    })
}

proptest! {
    #[test]
    fn what_is_encoded_decodes_to_itself(value in value()) {
        let bytes = value.to_bytes().unwrap();
        prop_assert_eq!(decode(&bytes, &Limits::DEFAULT), Ok(value));
    }

    #[test]
    fn every_cut_of_a_value_is_truncated(value in value()) {
        let bytes = value.to_bytes().unwrap();
        for cut in 0..bytes.len() {
            let error = decode(&bytes[..cut], &Limits::DEFAULT).unwrap_err();
            prop_assert_eq!(error.kind, DecodeErrorKind::Truncated);
        }
    }

    #[test]
    fn any_bytes_decode_or_fail_and_what_decodes_is_stable(
        bytes in prop::collection::vec(any::<u8>(), 0..200)
    ) {
        if let Ok((value, len)) = decode_prefix(&bytes, &Limits::DEFAULT) {
            prop_assert!(len <= bytes.len());
            let again = value.to_bytes().unwrap();
            prop_assert_eq!(decode(&again, &Limits::DEFAULT), Ok(value));
        }
    }

    #[test]
    fn the_extent_of_a_value_does_not_depend_on_the_pieces(
        value in value(), trailing in prop::collection::vec(any::<u8>(), 0..9), step in 1usize..9
    ) {
        let bytes = value.to_bytes().unwrap();
        let stream = [bytes.clone(), trailing].concat();
        let mut extent = Extent::new(&Limits::DEFAULT);
        let mut fed = 0;
        for piece in stream.chunks(step) {
            fed += piece.len();
            let end = extent.feed(piece).unwrap();
            prop_assert_eq!(end, (fed >= bytes.len()).then_some(bytes.len()));
            if end.is_some() { break; }
        }
    }

    #[test]
    fn the_extent_agrees_with_the_decoder(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
        let extent = Extent::new(&Limits::DEFAULT).feed(&bytes);
        match decode_prefix(&bytes, &Limits::DEFAULT) {
            Ok((_, len)) => prop_assert_eq!(extent, Ok(Some(len))),
            Err(error) if error.kind == DecodeErrorKind::Truncated && error.offset == bytes.len() =>
                prop_assert!(!matches!(extent, Ok(Some(_)))),
            Err(_) => {}
        }
    }
}

#[test]
fn a_value_that_cannot_fit_is_refused_before_it_is_buffered() {
    let limits = Limits { bytes: 10, ..Limits::DEFAULT };
    let feed = |bytes: &[u8]| Extent::new(&limits).feed(bytes);
    assert_eq!(feed(b"\x0e\x08"), Ok(None));
    assert_eq!(feed(b"\x0e\x09").unwrap_err().kind, DecodeErrorKind::TooLong);
    assert_eq!(feed(b"\x14\x08"), Ok(None));
    assert_eq!(feed(b"\x14\x09").unwrap_err().kind, DecodeErrorKind::TooLong);
    assert_eq!(feed(b"\x15\xff\xff\xff\xff").unwrap_err().kind, DecodeErrorKind::TooLong);
    assert_eq!(feed(b"\x07").unwrap_err().kind, DecodeErrorKind::UnknownTag(7));
}

#[test]
fn values_are_shown_as_python_shows_them() {
    let vectors: Vec<serde_json::Value> =
        serde_json::from_str(include_str!("data/repr.json")).unwrap();
    for vector in &vectors {
        let bytes = unhex(vector["hex"].as_str().unwrap());
        let value = decode(&bytes, &Limits::DEFAULT).unwrap();
        assert_eq!(value.to_string(), vector["repr"].as_str().unwrap(), "{value:?}");
    }
}
