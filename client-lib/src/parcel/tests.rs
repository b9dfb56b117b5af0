use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::*;
use crate::{args, kwargs};

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Employee {
    last: String,
    salary: f64,
    manager: Option<String>,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
enum Shape {
    Point,
    Circle(f64),
    Rectangle(f64, f64),
    Named { name: String, sides: u8 },
}

fn check<T: Serialize + serde::de::DeserializeOwned + PartialEq + std::fmt::Debug>(value: T) {
    let parcel = Parcel::new(&value).unwrap();
    assert!(matches!(parcel, Parcel::Value(_)), "{parcel:?}");
    assert_eq!(parcel.parse::<T>().unwrap(), value);
}

#[test]
fn what_goes_in_comes_out() {
    check(());
    check((1_u8, -2_i64, u64::MAX, i128::MIN, u128::MAX));
    check((0.5_f64, 0.25_f32, true, 'x', "text".to_owned()));
    check((Some(1), None::<u8>, vec![1, 2, 3]));
    check(BTreeMap::from([("a".to_owned(), 1), ("b".to_owned(), 2)]));
    check(Employee { last: "Mertz".into(), salary: 1.5, manager: None });
    check(vec![Shape::Point, Shape::Circle(1.0), Shape::Rectangle(1.0, 2.0)]);
    check(Shape::Named { name: "triangle".into(), sides: 3 });
}

#[test]
fn structs_are_made_of_tuples_and_of_pairs() {
    let expected = Employee { last: "Mertz".into(), salary: 2.0, manager: None };
    let tuple = Parcel::new(&("Mertz", 2, ())).unwrap();
    assert_eq!(tuple.parse::<Employee>().unwrap(), expected);
    let pairs = Parcel::new(&(("salary", 2), ("last", "Mertz"))).unwrap();
    assert_eq!(pairs.parse::<Employee>().unwrap(), expected);
}

#[test]
fn bytes_are_bytes() {
    let parcel = Parcel::bytes(*b"\xa5\x00");
    assert!(matches!(&parcel, Parcel::Value(Value::Bytes(bytes)) if bytes == b"\xa5\x00"));
    assert_eq!(parcel.parse::<Vec<u8>>().unwrap(), b"\xa5\x00");
}

#[test]
fn the_wrong_type_is_told() {
    let error = Parcel::from("three").parse::<i64>().unwrap_err();
    assert_eq!(error.to_string(), "'str' object cannot be interpreted as an integer");
    let error = Parcel::from(300).parse::<u8>().unwrap_err();
    assert!(error.is_overflow() && error.to_string() == "int out of range for u8", "{error}");
    assert_eq!(Parcel::from(true).parse::<i64>().unwrap(), 1);
    let error = Parcel::new(&(1, 2, 3)).unwrap().parse::<(u8, u8)>().unwrap_err();
    assert_eq!(error.to_string(), "invalid length 3, expected 2 elements in sequence");
}

#[test]
fn arguments_are_taken_apart() {
    let args = args![1, "two", Parcel::bytes(*b"3")].and(kwargs! { four: 4 });
    let (positional, keyword) = args.clone().into_parts();
    assert_eq!((positional.len(), keyword.len()), (3, 1));
    let error = args.parse::<(i64, String, Vec<u8>)>().unwrap_err();
    assert_eq!(error.to_string(), "got an unexpected keyword argument 'four'");
    let (one, two): (i64, String) = args![1, "two"].parse().unwrap();
    assert_eq!((one, &*two), (1, "two"));
}

#[test]
fn other_formats_do_not_take_objects() {
    let local = Local::function(|_| async { Ok(()) });
    assert!(serde_json::to_string(&local).is_err());
    assert!(serde_json::from_str::<Local>("1").is_err());
    let parcel = Parcel::new(&(1, &local)).unwrap();
    let (_, same): (u8, Local) = parcel.parse().unwrap();
    assert!(same.is_same(&local));
}

/// Bounds of which each may be absent, as in the type of a caller that also writes JSON.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Bounds {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    minimum: Option<i64>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    steps: Vec<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    maximum: Option<i64>,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
enum Limit {
    Plain {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        minimum: Option<i64>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        maximum: Option<i64>,
    },
    Nested(Bounds),
}

fn every_bounds() -> impl Iterator<Item = Bounds> {
    (0..8_u8).map(|bits| Bounds {
        minimum: (bits & 1 != 0).then_some(1),
        steps: if bits & 2 != 0 { vec![2] } else { Vec::new() },
        maximum: (bits & 4 != 0).then_some(10),
    })
}

#[test]
fn a_skipped_field_keeps_its_place() {
    for bounds in every_bounds() {
        let Bounds { minimum, maximum, .. } = bounds;
        check(Limit::Plain { minimum, maximum });
        check((vec![bounds.clone()], Some(bounds.clone()), 1));
        check(BTreeMap::from([("key".to_owned(), bounds.clone())]));
        check(Limit::Nested(bounds.clone()));
        check(bounds);
    }
    let bounds = Bounds { maximum: Some(10), ..Bounds::default() };
    assert_eq!(format!("{:?}", Parcel::new(&bounds).unwrap()), {
        let nones = (None::<i64>, None::<i64>, 10);
        format!("{:?}", Parcel::new(&nones).unwrap())
    });
}

#[test]
fn a_field_that_never_travels_has_no_place() {
    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Cached {
        first: i64,
        #[serde(skip)]
        cache: Option<i64>,
        second: i64,
    }
    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Pair(i64, #[serde(skip)] i64, i64);
    check(Cached { first: 1, cache: None, second: 2 });
    check(Pair(1, 0, 2));
}

#[test]
fn serde_keeps_the_places_where_it_reads_content_itself() {
    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    #[serde(tag = "kind")]
    enum Tagged {
        Range {
            #[serde(default, skip_serializing_if = "Option::is_none")]
            minimum: Option<i64>,
            #[serde(default, skip_serializing_if = "Option::is_none")]
            maximum: Option<i64>,
        },
    }
    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    #[serde(untagged)]
    enum Either {
        Bounds(Bounds),
    }
    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Flat {
        id: i64,
        #[serde(flatten)]
        bounds: Bounds,
    }
    for bounds in every_bounds() {
        let Bounds { minimum, maximum, .. } = bounds;
        check(Tagged::Range { minimum, maximum });
        // Of `None` where a list is needed, serde's own reader knows no default: it refuses.
        let parcel = Parcel::new(&Either::Bounds(bounds.clone())).unwrap();
        match parcel.parse::<Either>() {
            Ok(read) => assert_eq!(read, Either::Bounds(bounds.clone())),
            Err(error) => assert!(bounds.steps.is_empty(), "{error}"),
        }
        check(Flat { id: 7, bounds });
    }
}

/// The one side leaves a field out that the other one reads: nothing may be taken for its
/// neighbour.
#[test]
fn a_struct_that_lost_a_field_on_the_way_is_refused() {
    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct OneWay {
        #[serde(skip_serializing, default)]
        minimum: Option<i64>,
        #[serde(default)]
        maximum: Option<i64>,
    }
    #[derive(Debug, Serialize, Deserialize)]
    struct Positions(
        #[serde(skip_serializing_if = "Option::is_none", default)] Option<i64>,
        #[serde(default)] Option<i64>,
    );
    #[derive(Debug, Serialize, Deserialize)]
    enum Variant {
        OneWay {
            #[serde(skip_serializing, default)]
            minimum: Option<i64>,
            #[serde(default)]
            maximum: Option<i64>,
        },
    }
    let refusal = |parcel: Result<String, ConvertError>| parcel.unwrap_err().to_string();
    let read = Parcel::new(&OneWay { minimum: Some(1), maximum: Some(10) }).unwrap();
    assert_eq!(
        refusal(read.parse::<OneWay>().map(|read| format!("{read:?}"))),
        "a tuple of 1 has too few members for struct OneWay; None stands for a field without value"
    );
    let read = Parcel::new(&Positions(None, Some(10))).unwrap();
    let error = refusal(read.parse::<Positions>().map(|read| format!("{read:?}")));
    assert!(error.contains("too few members for struct Positions"), "{error}");
    let read = Parcel::new(&Variant::OneWay { minimum: None, maximum: Some(10) }).unwrap();
    let error = refusal(read.parse::<Variant>().map(|read| format!("{read:?}")));
    assert!(error.contains("too few members for variant OneWay"), "{error}");
}

#[test]
fn none_stands_for_a_default_and_for_nothing_else() {
    let nothing = Parcel::new(&((), 2, ())).unwrap();
    let error = nothing.parse::<Employee>().unwrap_err();
    assert_eq!(error.to_string(), "expected a string, not None");
    let pairs = Parcel::new(&(("maximum", 10),)).unwrap();
    let expected = Bounds { maximum: Some(10), ..Bounds::default() };
    assert_eq!(pairs.parse::<Bounds>().unwrap(), expected);
    assert_eq!(Parcel::new(&[0; 0]).unwrap().parse::<Bounds>().unwrap(), Bounds::default());
    let error = Parcel::new(&(1, [2], 3, 4)).unwrap().parse::<Bounds>().unwrap_err();
    assert_eq!(error.to_string(), "invalid length 4, expected 3 elements in sequence");
}
