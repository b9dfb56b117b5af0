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
