//! The expression of an axis, such as `hidden // 2`, evaluated as Python would.

use std::fmt;

/// Deepest nesting of an expression; the deepest public one has two levels.
const MOST_LEVELS: usize = 32;

/// A parsed expression over axis names.
#[derive(Debug, Clone, PartialEq)]
pub struct Expression {
    text: String,
    root: Node,
}

/// Why a text is no expression, or has no value.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum ExpressionError {
    /// Something stands where it must not.
    #[error("`{found}` at byte {at}: expected {expected}")]
    Syntax {
        /// Offset of the unexpected text.
        at: usize,
        /// What belongs there.
        expected: &'static str,
        /// What stands there; empty at the end.
        found: String,
    },
    /// Nested too deeply.
    #[error("it nests too deeply: expected at most {MOST_LEVELS} levels")]
    TooDeep,
    /// A name without a value.
    #[error("`{name}` is no constant or variable axis")]
    Unknown {
        /// The name.
        name: String,
    },
    /// The result is no whole number from zero up.
    #[error("its value is {value}: expected a whole number from zero up")]
    NotWhole {
        /// The value as Python would print it.
        value: String,
    },
    /// Division by zero, or a number that is too large.
    #[error("it has no value: {reason}")]
    NoValue {
        /// Why.
        reason: &'static str,
    },
}

#[derive(Debug, Clone, PartialEq)]
enum Node {
    Number(Number),
    Name(String),
    Negative(Box<Node>),
    Binary(Operator, Box<Node>, Box<Node>),
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Operator {
    Add,
    Subtract,
    Multiply,
    Divide,
    FloorDivide,
    Remainder,
    Power,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Number {
    Whole(i128),
    Float(f64),
}

impl Number {
    #[expect(clippy::cast_precision_loss, reason = "Python's division rounds as well")]
    fn as_f64(self) -> f64 {
        match self {
            Self::Whole(value) => value as f64,
            Self::Float(value) => value,
        }
    }
}

impl Expression {
    /// Parses a text.
    pub fn parse(text: &str) -> Result<Self, ExpressionError> {
        let mut parser = Parser { text, at: 0 };
        let root = parser.sum(0)?;
        parser.skip_spaces();
        if parser.at < text.len() {
            return Err(parser.unexpected("an operator or the end"));
        }
        Ok(Self { text: text.to_owned(), root })
    }

    /// The names in it, in the order of the text.
    pub fn names(&self) -> Vec<&str> {
        let mut names = Vec::new();
        collect_names(&self.root, &mut names);
        names
    }

    /// The value, given that of every name.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "checked to be whole and in range"
    )]
    pub fn value(&self, of: &impl Fn(&str) -> Option<u64>) -> Result<u64, ExpressionError> {
        const LARGEST_EXACT: f64 = 9_007_199_254_740_992.0; // 2^53: beyond it a double skips whole numbers
        let value = evaluate(&self.root, of)?;
        let whole = match value {
            Number::Whole(value) => u64::try_from(value).ok(),
            Number::Float(value) if value.fract() == 0.0 && (0.0..=LARGEST_EXACT).contains(&value) => {
                Some(value as u64)
            }
            Number::Float(_) => None,
        };
        let text = || match value {
            Number::Whole(value) => value.to_string(),
            Number::Float(value) => value.to_string(),
        };
        whole.ok_or_else(|| ExpressionError::NotWhole { value: text() })
    }
}

impl fmt::Display for Expression {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.text)
    }
}

fn collect_names<'n>(node: &'n Node, names: &mut Vec<&'n str>) {
    match node {
        Node::Number(_) => {}
        Node::Name(name) => names.push(name),
        Node::Negative(inner) => collect_names(inner, names),
        Node::Binary(_, left, right) => {
            collect_names(left, names);
            collect_names(right, names);
        }
    }
}

fn evaluate(node: &Node, of: &impl Fn(&str) -> Option<u64>) -> Result<Number, ExpressionError> {
    match node {
        Node::Number(number) => Ok(*number),
        Node::Name(name) => of(name)
            .map(|value| Number::Whole(value.into()))
            .ok_or_else(|| ExpressionError::Unknown { name: name.clone() }),
        Node::Negative(inner) => Ok(match evaluate(inner, of)? {
            Number::Whole(value) => Number::Whole(value.checked_neg().ok_or_else(too_large)?),
            Number::Float(value) => Number::Float(-value),
        }),
        Node::Binary(operator, left, right) => apply(*operator, evaluate(left, of)?, evaluate(right, of)?),
    }
}

fn apply(operator: Operator, left: Number, right: Number) -> Result<Number, ExpressionError> {
    if let (Number::Whole(left), Number::Whole(right)) = (left, right)
        && let Some(value) = apply_whole(operator, left, right)
    {
        return value.map(Number::Whole);
    }
    let (left, right) = (left.as_f64(), right.as_f64());
    let divides = matches!(operator, Operator::Divide | Operator::FloorDivide | Operator::Remainder);
    if divides && right == 0.0 {
        return Err(ExpressionError::NoValue { reason: "division by zero" });
    }
    Ok(Number::Float(match operator {
        Operator::Add => left + right,
        Operator::Subtract => left - right,
        Operator::Multiply => left * right,
        Operator::Divide => left / right,
        Operator::FloorDivide => (left / right).floor(),
        Operator::Remainder => left - (left / right).floor() * right,
        Operator::Power => left.powf(right),
    }))
}

/// The whole result of whole operands; `None` where Python gives a fraction.
fn apply_whole(operator: Operator, left: i128, right: i128) -> Option<Result<i128, ExpressionError>> {
    let zero = Err(ExpressionError::NoValue { reason: "division by zero" });
    let floor = |left: i128, right: i128| {
        let towards_zero = left.checked_div(right)?;
        Some(if left % right != 0 && (left < 0) != (right < 0) { towards_zero - 1 } else { towards_zero })
    };
    let value = match operator {
        Operator::Add => left.checked_add(right),
        Operator::Subtract => left.checked_sub(right),
        Operator::Multiply => left.checked_mul(right),
        Operator::Divide => return None,
        Operator::FloorDivide | Operator::Remainder if right == 0 => return Some(zero),
        Operator::FloorDivide => floor(left, right),
        Operator::Remainder => floor(left, right).map(|quotient| left - quotient * right),
        Operator::Power if right < 0 => return None,
        Operator::Power => u32::try_from(right).ok().and_then(|right| left.checked_pow(right)),
    };
    Some(value.ok_or_else(too_large))
}

fn too_large() -> ExpressionError {
    ExpressionError::NoValue { reason: "a number is too large" }
}

struct Parser<'t> {
    text: &'t str,
    at: usize,
}

impl Parser<'_> {
    fn skip_spaces(&mut self) {
        self.at = self.text.len() - self.text[self.at..].trim_start_matches([' ', '\t']).len();
    }

    fn takes(&mut self, token: &str) -> bool {
        self.skip_spaces();
        let found = self.text[self.at..].starts_with(token);
        self.at += if found { token.len() } else { 0 };
        found
    }

    fn unexpected(&self, expected: &'static str) -> ExpressionError {
        let found = self.text[self.at..].chars().take(12).collect();
        ExpressionError::Syntax { at: self.at, expected, found }
    }

    fn sum(&mut self, level: usize) -> Result<Node, ExpressionError> {
        if level > MOST_LEVELS {
            return Err(ExpressionError::TooDeep);
        }
        let mut left = self.product(level)?;
        loop {
            let operator = if self.takes("+") {
                Operator::Add
            } else if self.takes("-") {
                Operator::Subtract
            } else {
                return Ok(left);
            };
            left = Node::Binary(operator, Box::new(left), Box::new(self.product(level)?));
        }
    }

    fn product(&mut self, level: usize) -> Result<Node, ExpressionError> {
        let mut left = self.signed(level)?;
        loop {
            let operator = if self.takes("//") {
                Operator::FloorDivide
            } else if self.takes("/") {
                Operator::Divide
            } else if self.takes("%") {
                Operator::Remainder
            } else if self.takes("*") {
                Operator::Multiply
            } else {
                return Ok(left);
            };
            left = Node::Binary(operator, Box::new(left), Box::new(self.signed(level)?));
        }
    }

    /// A sign binds less than a power to its right: `-2 ** 2` is -4.
    fn signed(&mut self, level: usize) -> Result<Node, ExpressionError> {
        if level > MOST_LEVELS {
            return Err(ExpressionError::TooDeep);
        }
        if self.takes("-") {
            return Ok(Node::Negative(Box::new(self.signed(level + 1)?)));
        }
        if self.takes("+") {
            return self.signed(level + 1);
        }
        let base = self.atom(level)?;
        if self.takes("**") {
            return Ok(Node::Binary(Operator::Power, Box::new(base), Box::new(self.signed(level + 1)?)));
        }
        Ok(base)
    }

    fn atom(&mut self, level: usize) -> Result<Node, ExpressionError> {
        if self.takes("(") {
            let inner = self.sum(level + 1)?;
            return if self.takes(")") { Ok(inner) } else { Err(self.unexpected("`)`")) };
        }
        let rest = &self.text[self.at..];
        let is_part = |one: char| one.is_alphanumeric() || one == '_' || one == '.';
        let word = &rest[..rest.find(|one| !is_part(one)).unwrap_or(rest.len())];
        let node = if word.starts_with(|one: char| one.is_ascii_digit() || one == '.') {
            let whole = word.parse().map(Number::Whole).ok();
            whole.or_else(|| word.parse().map(Number::Float).ok()).map(Node::Number)
        } else {
            (!word.is_empty() && !word.contains('.')).then(|| Node::Name(word.to_owned()))
        };
        let node = node.ok_or_else(|| self.unexpected("a number, a name or `(`"))?;
        self.at += word.len();
        Ok(node)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(text: &str) -> Result<u64, ExpressionError> {
        let of = |name: &str| match name {
            "n" => Some(10),
            "head_dim" => Some(128),
            _ => None,
        };
        Expression::parse(text)?.value(&of)
    }

    #[test]
    fn reckons_as_python_does() {
        // Each value is what Python 3.12 gives with n = 10 and head_dim = 128.
        for (text, expected) in [
            ("head_dim // 2", 64),
            ("n * (n + 1) / 2", 55),
            ("2 ** 3 ** 2", 512),
            ("-2 ** 2 + 8", 4),
            ("(-7) // 2 + 4", 0),
            ("(-7) % 3", 2),
            ("7 - 2 - 1", 4),
            ("+n % 4 * 2", 4),
            ("4 ** -1 * 8", 2),
            ("n*1.5", 15),
            ("64 / 2 / 2", 16),
        ] {
            assert_eq!(value(text), Ok(expected), "{text}");
        }
    }

    #[test]
    fn refuses_what_has_no_whole_value() {
        for text in
            ["n / 4", "1 - n", "n // 0", "n % 0", "1 / 0", "m + 1", "10 ** 99", "2 ** 9999999999", "n ** 0.5"]
        {
            assert!(value(text).is_err(), "{text}");
        }
    }

    #[test]
    fn refuses_everything_but_arithmetic_over_names() {
        for text in
            ["", "f(n)", "n.x", "n[0]", "n n", "(n", "n)", "1 +", "n == 1", "n << 1", "__import__('os')"]
        {
            assert!(Expression::parse(text).is_err(), "{text}");
        }
        assert!(matches!(Expression::parse(&"(".repeat(100_000)), Err(ExpressionError::TooDeep)));
        assert!(matches!(Expression::parse(&"-".repeat(100_000)), Err(ExpressionError::TooDeep)));
    }

    #[test]
    fn names_stand_in_the_order_of_the_text() {
        assert_eq!(Expression::parse("b + a * (c // b)").unwrap().names(), ["b", "a", "c", "b"]);
    }
}
