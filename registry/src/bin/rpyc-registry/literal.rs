//! Python literals on the command line.

use rpyc_protocol::brine::{FrozenSet, Int, Value};

/// The maximum nesting depth of a literal.
const DEPTH: u8 = 50;

/// The value of a Python literal.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Literal {
    /// A value with a wire form.
    Value(Value),
    /// A tuple that contains a list or a dict.
    Tuple(Vec<Self>),
    List(Vec<Self>),
    Dict(Vec<(Value, Self)>),
}

impl Literal {
    /// Parses a word as a Python literal. Any other word becomes a string.
    pub(crate) fn of_word(word: &str) -> Self {
        Self::parse(word).unwrap_or_else(|| Self::Value(word.into()))
    }

    /// Parses a literal as `ast.literal_eval` does; `None` if the text is not one.
    fn parse(text: &str) -> Option<Self> {
        let mut reader = Reader { rest: text };
        let literal = reader.literal(DEPTH)?;
        reader.skip_space();
        reader.rest.is_empty().then_some(literal)
    }

    fn tuple(members: Vec<Self>) -> Self {
        let value = |member: &Self| match member {
            Self::Value(value) => Some(value.clone()),
            _ => None,
        };
        match members.iter().map(value).collect() {
            Some(values) => Self::Value(Value::Tuple(values)),
            None => Self::Tuple(members),
        }
    }
}

struct Reader<'a> {
    rest: &'a str,
}

impl<'a> Reader<'a> {
    fn literal(&mut self, depth: u8) -> Option<Literal> {
        let depth = depth.checked_sub(1)?;
        self.skip_space();
        match self.rest.chars().next()? {
            '(' => self.tuple(depth),
            '[' => {
                let (members, _) = self.members('[', ']', depth)?;
                Some(Literal::List(members))
            }
            '{' => self.braces(depth),
            '\'' | '"' | 'b' | 'B' | 'r' | 'R' | 'u' | 'U' => self.quoted().map(Literal::Value),
            '0'..='9' | '.' | '+' | '-' => self.number().map(Literal::Value),
            _ => self.word().map(Literal::Value),
        }
    }

    fn word(&mut self) -> Option<Value> {
        let words = [("None", Value::None), ("True", true.into()), ("False", false.into())];
        let (word, value) = words.into_iter().find(|(word, _)| self.rest.starts_with(word))?;
        self.eat(word);
        let goes_on = self.rest.starts_with(|next: char| next.is_alphanumeric() || next == '_');
        (!goes_on).then_some(value)
    }

    fn tuple(&mut self, depth: u8) -> Option<Literal> {
        let (mut members, has_comma) = self.members('(', ')', depth)?;
        match (members.pop(), has_comma) {
            // Parentheses around a single item without a comma only group.
            (Some(one), false) if members.is_empty() => Some(one),
            (last, _) => {
                members.extend(last);
                Some(Literal::tuple(members))
            }
        }
    }

    /// Parses the members between `open` and `close`, and returns whether there was a comma.
    fn members(&mut self, open: char, close: char, depth: u8) -> Option<(Vec<Literal>, bool)> {
        let (mut members, mut has_comma) = (Vec::new(), false);
        self.eat_char(open).then_some(())?;
        loop {
            if self.eat_char(close) {
                return Some((members, has_comma));
            }
            if !members.is_empty() && !has_comma {
                return None;
            }
            members.push(self.literal(depth)?);
            let comma = self.eat_char(',');
            has_comma |= comma;
            if !comma {
                return self.eat_char(close).then_some((members, has_comma));
            }
        }
    }

    /// Parses a dict, or a set of values.
    fn braces(&mut self, depth: u8) -> Option<Literal> {
        self.eat_char('{').then_some(())?;
        let (mut pairs, mut members) = (Vec::new(), Vec::new());
        while !self.eat_char('}') {
            let first = self.literal(depth)?;
            if self.eat_char(':') {
                // A key must be a value; Python cannot hash the other literals either.
                let Literal::Value(key) = first else { return None };
                pairs.push((key, self.literal(depth)?));
            } else {
                members.push(first);
            }
            if !self.eat_char(',') {
                self.eat_char('}').then_some(())?;
                break;
            }
        }
        match (pairs.is_empty(), Literal::tuple(members)) {
            (true, Literal::Value(Value::Tuple(values))) if !values.is_empty() => {
                Some(Literal::Value(Value::FrozenSet(FrozenSet(values))))
            }
            (_, Literal::Value(Value::Tuple(values))) if values.is_empty() => {
                Some(Literal::Dict(pairs))
            }
            _ => None,
        }
    }

    fn number(&mut self) -> Option<Value> {
        if let Some(rest) = self.rest.strip_prefix("...") {
            self.rest = rest;
            return Some(Value::Ellipsis);
        }
        let first = self.real()?;
        if let Real::Imaginary(imaginary) = first {
            return Some(Value::Complex(0.0, imaginary));
        }
        self.skip_space();
        if !self.rest.starts_with(['+', '-']) {
            return Some(first.into_value());
        }
        let real = first.to_f64()?;
        match self.real()? {
            Real::Imaginary(imaginary) => Some(Value::Complex(real, imaginary)),
            Real::Int(_) | Real::Float(_) => None,
        }
    }

    /// Parses a number with its sign.
    fn real(&mut self) -> Option<Real> {
        let is_negative = self.rest.starts_with('-');
        self.rest = self.rest.strip_prefix(['+', '-']).unwrap_or(self.rest);
        self.skip_space();
        let len = self.number_len();
        let (text, rest) = self.rest.split_at_checked(len)?;
        self.rest = rest;
        let text = without_underscores(text)?;
        let sign = if is_negative { "-" } else { "" };
        let radix = text.get(..2).map(str::to_ascii_lowercase);
        let radix = match radix.as_deref() {
            Some("0x") => Some(16),
            Some("0o") => Some(8),
            Some("0b") => Some(2),
            _ => None,
        };
        if let Some(radix) = radix {
            let digits = i128::from_str_radix(text.get(2..)?, radix).ok()?;
            return Some(Real::Int(Int::from(if is_negative { -digits } else { digits })));
        }
        if let Some(imaginary) = text.strip_suffix(['j', 'J']) {
            return Some(Real::Imaginary(format!("{sign}{imaginary}").parse().ok()?));
        }
        if text.bytes().all(|byte| byte.is_ascii_digit()) {
            // Python rejects leading zeros, unless the number is 0.
            let is_octal_of_old = text.len() > 1 && text.starts_with('0') && !is_zero(&text);
            return if is_octal_of_old {
                None
            } else {
                Some(Real::Int(format!("{sign}{text}").parse().ok()?))
            };
        }
        Some(Real::Float(format!("{sign}{text}").parse().ok()?))
    }

    fn number_len(&self) -> usize {
        let mut before = ' ';
        self.rest
            .find(|next: char| {
                let is_exponent_sign = matches!(before, 'e' | 'E') && matches!(next, '+' | '-');
                before = next;
                !(next.is_ascii_alphanumeric() || matches!(next, '.' | '_') || is_exponent_sign)
            })
            .unwrap_or(self.rest.len())
    }

    fn quoted(&mut self) -> Option<Value> {
        let prefix_len = self.rest.find(['\'', '"'])?;
        let (prefix, rest) = self.rest.split_at_checked(prefix_len)?;
        let prefix = prefix.to_ascii_lowercase();
        let (is_bytes, is_raw) = match prefix.as_str() {
            "" | "u" => (false, false),
            "r" => (false, true),
            "b" => (true, false),
            "br" | "rb" => (true, true),
            _ => return None,
        };
        let quote = rest.get(..1)?;
        let triple = quote.repeat(3);
        let quote = if rest.starts_with(&triple) { triple.as_str() } else { quote };
        self.rest = rest.strip_prefix(quote)?;
        let mut text = String::new();
        while !self.rest.starts_with(quote) {
            let next = self.next_char()?;
            match next {
                '\\' if is_raw => text.extend(['\\', self.next_char()?]),
                '\\' => self.escape(is_bytes, &mut text)?,
                '\n' if quote.len() == 1 => return None,
                _ if is_bytes && !next.is_ascii() => return None,
                _ => text.push(next),
            }
        }
        self.eat(quote);
        if !is_bytes {
            return Some(Value::Str(text));
        }
        let bytes: Result<Vec<u8>, _> = text.chars().map(u8::try_from).collect();
        bytes.ok().map(Value::Bytes)
    }

    /// Parses the characters after a backslash.
    fn escape(&mut self, is_bytes: bool, text: &mut String) -> Option<()> {
        let next = self.next_char()?;
        let character = match next {
            '\n' => return Some(()),
            '\\' | '\'' | '"' => next,
            'a' => '\x07',
            'b' => '\x08',
            'f' => '\x0c',
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            'v' => '\x0b',
            'x' => self.code(2)?,
            'u' if !is_bytes => self.code(4)?,
            'U' if !is_bytes => self.code(8)?,
            '0'..='7' => self.octal(next)?,
            // This parser does not know the names of characters.
            'N' if !is_bytes => return None,
            // Python keeps the backslash of an unknown escape.
            _ => {
                text.extend(['\\', next]);
                return Some(());
            }
        };
        text.push(character);
        Some(())
    }

    fn code(&mut self, digits: usize) -> Option<char> {
        let (code, rest) = self.rest.split_at_checked(digits)?;
        self.rest = rest;
        let is_hex = code.bytes().all(|byte| byte.is_ascii_hexdigit());
        char::from_u32(u32::from_str_radix(code, 16).ok().filter(|_| is_hex)?)
    }

    fn octal(&mut self, first: char) -> Option<char> {
        let mut code = first.to_digit(8)?;
        for _ in 0..2 {
            let Some(digit) = self.rest.chars().next().and_then(|next| next.to_digit(8)) else {
                break;
            };
            self.next_char()?;
            code = code * 8 + digit;
        }
        char::from_u32(code)
    }

    fn next_char(&mut self) -> Option<char> {
        let mut characters = self.rest.chars();
        let next = characters.next()?;
        self.rest = characters.as_str();
        Some(next)
    }

    fn skip_space(&mut self) {
        self.rest = self.rest.trim_ascii_start();
    }

    fn eat(&mut self, text: &str) {
        self.rest = self.rest.strip_prefix(text).unwrap_or(self.rest);
    }

    fn eat_char(&mut self, expected: char) -> bool {
        self.skip_space();
        match self.rest.strip_prefix(expected) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }
}

enum Real {
    Int(Int),
    Float(f64),
    Imaginary(f64),
}

impl Real {
    fn into_value(self) -> Value {
        match self {
            Self::Int(value) => value.into(),
            Self::Float(value) => value.into(),
            Self::Imaginary(value) => Value::Complex(0.0, value),
        }
    }

    fn to_f64(&self) -> Option<f64> {
        match self {
            Self::Int(value) => value.to_string().parse().ok(),
            Self::Float(value) => Some(*value),
            Self::Imaginary(_) => None,
        }
    }
}

/// Removes underscores, which may stand only between digits.
fn without_underscores(text: &str) -> Option<String> {
    let is_misplaced = text.starts_with('_')
        || text.ends_with('_')
        || text.contains("__")
        || text.contains("_.")
        || text.contains("._");
    (!is_misplaced).then(|| text.replace('_', ""))
}

fn is_zero(digits: &str) -> bool {
    digits.bytes().all(|byte| byte == b'0')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_read_as_python_reads_them() {
        // Each right side is the output of `repr(ast.literal_eval(left))` in CPython 3.11.
        let cases = [
            ("None", "None"),
            ("True", "True"),
            ("42", "42"),
            ("-7", "-7"),
            ("+7", "7"),
            ("1_000", "1000"),
            ("0x1F", "31"),
            ("-0b101", "-5"),
            ("000", "0"),
            ("99999999999999999999999", "99999999999999999999999"),
            ("1.5", "1.5"),
            (".5", "0.5"),
            ("5.", "5.0"),
            ("1e3", "1000.0"),
            ("-1E-7", "-1e-07"),
            ("2j", "2j"),
            ("1+2j", "(1+2j)"),
            ("...", "Ellipsis"),
            ("'a'", "'a'"),
            ("\"it's\"", "\"it's\""),
            (r"'a\n\x41\u00e9\101\q'", r"'a\nAéA\\q'"),
            (r"r'\d'", r"'\\d'"),
            (r"b'\xa5'", r"b'\xa5'"),
            ("'''a'b'''", "\"a'b\""),
            ("()", "()"),
            ("(1)", "1"),
            ("(1,)", "(1,)"),
            (" ( 1 , 'x' , None ) ", "(1, 'x', None)"),
            ("((1, 2), ())", "((1, 2), ())"),
        ];
        for (word, repr) in cases {
            match Literal::of_word(word) {
                Literal::Value(value) => assert_eq!(value.to_string(), repr, "{word}"),
                other => panic!("{word}: {other:?}"),
            }
        }
    }

    #[test]
    fn any_other_word_is_text() {
        for word in [
            "David",
            "",
            "true",
            "Nonesuch",
            "None1",
            "1.2.3",
            "10.0.0.5",
            "1__0",
            "_1",
            "012",
            "0x",
            "1 2",
            "(1",
            "(1,,)",
            "'open",
            "'a' b",
            "b'é'",
            "1+2",
            "-",
            "--",
            "a=b",
            "[1",
            "{1:",
            "{1: 2, 3}",
            "inf",
        ] {
            assert_eq!(Literal::of_word(word), Literal::Value(word.into()), "{word}");
        }
        let deep = format!("{}{}", "(".repeat(60), ",)".repeat(60));
        assert_eq!(Literal::of_word(&deep), Literal::Value(deep.as_str().into()));
    }

    #[test]
    fn lists_and_dicts_are_told_from_tuples() {
        let value = |number: i64| Literal::Value(number.into());
        assert_eq!(Literal::of_word("[1, 2,]"), Literal::List(vec![value(1), value(2)]));
        assert_eq!(Literal::of_word("[]"), Literal::List(vec![]));
        assert_eq!(Literal::of_word("{}"), Literal::Dict(vec![]));
        assert_eq!(
            Literal::of_word("{1: [2]}"),
            Literal::Dict(vec![(1.into(), Literal::List(vec![value(2)]))])
        );
        assert_eq!(
            Literal::of_word("(1, [])"),
            Literal::Tuple(vec![value(1), Literal::List(vec![])])
        );
        let set = Value::FrozenSet(FrozenSet(vec![1.into(), 2.into()]));
        assert_eq!(Literal::of_word("{1, 2}"), Literal::Value(set));
    }
}
