//! Values as Python writes them: `repr`.

use std::fmt::{self, Display, Write};

use super::Value;

/// Writes the value as Python's `repr` does, so that people who know Python can read it.
///
/// ```
/// use rpyc_protocol::brine::Value;
///
/// let value = Value::Tuple(vec![1.into(), "it's".into(), Value::Bytes(vec![0xa5]), 1e16.into()]);
/// assert_eq!(value.to_string(), r#"(1, "it's", b'\xa5', 1e+16)"#);
/// ```
impl Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("None"),
            Self::Bool(true) => f.write_str("True"),
            Self::Bool(false) => f.write_str("False"),
            Self::NotImplemented => f.write_str("NotImplemented"),
            Self::Ellipsis => f.write_str("Ellipsis"),
            Self::Int(value) => value.fmt(f),
            Self::Float(value) => float(*value, true, f),
            Self::Complex(real, imaginary) => complex(*real, *imaginary, f),
            Self::Bytes(value) => bytes(value, f),
            Self::Str(value) => text(value, f),
            Self::Tuple(members) => match members.as_slice() {
                [one] => write!(f, "({one},)"),
                several => {
                    f.write_char('(')?;
                    list(several, f)?;
                    f.write_char(')')
                }
            },
            Self::FrozenSet(set) if set.0.is_empty() => f.write_str("frozenset()"),
            Self::FrozenSet(set) => {
                f.write_str("frozenset({")?;
                list(&set.0, f)?;
                f.write_str("})")
            }
            Self::Slice(parts) => {
                f.write_str("slice(")?;
                list(&**parts, f)?;
                f.write_char(')')
            }
        }
    }
}

fn list(members: &[Value], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    for (index, member) in members.iter().enumerate() {
        if index > 0 {
            f.write_str(", ")?;
        }
        member.fmt(f)?;
    }
    Ok(())
}

/// The shortest digits that give the same float, as in Rust; but with an exponent of two digits and
/// a sign, and that only outside of 1e-4 to 1e16.
fn float(value: f64, with_point: bool, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    if value.is_nan() {
        return f.write_str("nan");
    }
    if value.is_infinite() {
        return f.write_str(if value > 0.0 { "inf" } else { "-inf" });
    }
    let point = if with_point { ".0" } else { "" };
    let scientific = shortest(value);
    let (digits, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if value != 0.0 && !(-4..16).contains(&exponent) {
        let sign = if exponent < 0 { '-' } else { '+' };
        return write!(f, "{digits}e{sign}{:02}", exponent.unsigned_abs());
    }
    let (sign, digits) = digits.strip_prefix('-').map_or(("", digits), |rest| ("-", rest));
    let digits = digits.replace('.', "");
    let zeros = |n: i32| "0".repeat(usize::try_from(n).unwrap_or(0));
    let padded = format!("{}{digits}", zeros(-exponent));
    // Before the point stand as many digits as the exponent says, and one more.
    let whole_len = usize::try_from(exponent).unwrap_or(0) + 1;
    match padded.split_at_checked(whole_len) {
        Some((whole, "")) => write!(f, "{sign}{whole}{point}"),
        Some((whole, fraction)) => write!(f, "{sign}{whole}.{fraction}"),
        None => {
            let missing = zeros(exponent + 1 - i32::try_from(digits.len()).unwrap_or(0));
            write!(f, "{sign}{digits}{missing}{point}")
        }
    }
}

/// The shortest digits that give the same float, with an exponent. Of two that are as near, Python
/// takes the even one; formatting to a number of digits does so as well.
fn shortest(value: f64) -> String {
    let any = format!("{value:e}");
    let after_point = any.split_once('.').and_then(|(_, rest)| rest.find('e')).unwrap_or(0);
    let even = format!("{value:.after_point$e}");
    if even.parse() == Ok(value) { even } else { any }
}

fn complex(real: f64, imaginary: f64, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    if real == 0.0 && real.is_sign_positive() {
        float(imaginary, false, f)?;
        return f.write_char('j');
    }
    f.write_char('(')?;
    float(real, false, f)?;
    if imaginary.is_nan() || imaginary.is_sign_positive() {
        f.write_char('+')?;
    }
    float(imaginary, false, f)?;
    f.write_str("j)")
}

/// Single quotes, unless that takes more escapes than double ones.
fn quote(has_single: bool, has_double: bool) -> char {
    if has_single && !has_double { '"' } else { '\'' }
}

fn bytes(value: &[u8], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let quote = quote(value.contains(&b'\''), value.contains(&b'"'));
    write!(f, "b{quote}")?;
    for &byte in value {
        match byte {
            b'\t' => f.write_str("\\t")?,
            b'\n' => f.write_str("\\n")?,
            b'\r' => f.write_str("\\r")?,
            b'\\' => f.write_str("\\\\")?,
            _ if char::from(byte) == quote => write!(f, "\\{quote}")?,
            b' '..=b'~' => f.write_char(char::from(byte))?,
            _ => write!(f, "\\x{byte:02x}")?,
        }
    }
    f.write_char(quote)
}

fn text(value: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let quote = quote(value.contains('\''), value.contains('"'));
    f.write_char(quote)?;
    for character in value.chars() {
        match character {
            '\t' => f.write_str("\\t")?,
            '\n' => f.write_str("\\n")?,
            '\r' => f.write_str("\\r")?,
            '\\' => f.write_str("\\\\")?,
            _ if character == quote => write!(f, "\\{quote}")?,
            _ if is_printable(character) => f.write_char(character)?,
            _ => match u32::from(character) {
                code @ ..=0xff => write!(f, "\\x{code:02x}")?,
                code @ ..=0xffff => write!(f, "\\u{code:04x}")?,
                code => write!(f, "\\U{code:08x}")?,
            },
        }
    }
    f.write_char(quote)
}

/// Whether Python would show the character itself. Rust's own tables agree nearly everywhere; marks
/// that combine with what stands before them are shown by Python and escaped by Rust.
fn is_printable(character: char) -> bool {
    if character == ' ' || character.is_ascii_graphic() {
        return true;
    }
    let is_space_or_control = character.is_whitespace() || character.is_control();
    let is_escaped = format!("a{character}").escape_debug().nth(1) == Some('\\');
    !is_space_or_control && !is_escaped
}
