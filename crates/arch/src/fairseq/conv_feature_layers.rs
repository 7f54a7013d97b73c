//! The parser of `conv_feature_layers`, a Python expression for the list of the feature extractor's convolutions.
//!
//! fairseq evaluates `[(512,10,5)] + [(512,3,2)] * 4 + [(512,2,2)] * 2` with `eval`. Here a parser reads the same: lists and
//! tuples of integers, `+`, `*` and parentheses, in bounded size and depth.

use super::value::CfgValue;

/// A convolution of the feature extractor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConvLayer {
    /// Output channels.
    pub dim: usize,
    /// Kernel in frames of its input.
    pub kernel: usize,
    /// Stride in frames of its input.
    pub stride: usize,
}

/// Limits far above any model's: characters, nested brackets, convolutions, numbers and lists within a list, the largest
/// number.
const MAX_LENGTH: usize = 4096;
const MAX_DEPTH: usize = 16;
const MAX_ITEMS: usize = 1024;
const MAX_NODES: usize = 8192;
const MAX_NUMBER: usize = 1 << 20;

/// The value of a part of the expression.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Item {
    Number(usize),
    List(Vec<Item>),
    Tuple(Vec<Item>),
}

/// Parses a `conv_feature_layers`: the text of a list of `(dim, kernel, stride)`.
///
/// # Errors
/// A clause about the text, for anything but such a list with positive numbers.
pub fn parse_conv_feature_layers(text: &str) -> Result<Vec<ConvLayer>, String> {
    if text.len() > MAX_LENGTH {
        return Err(format!("it has {} characters, more than {MAX_LENGTH}", text.len()));
    }
    let mut parser = Parser { text: text.as_bytes(), at: 0, depth: 0 };
    let value = parser.sum()?;
    parser.skip_spaces();
    match parser.peek() {
        None => layers(&value),
        Some(_) => Err(parser.unexpected()),
    }
}

/// The convolutions of a configuration that stores the list itself.
pub(super) fn layers_of_list(items: &[CfgValue]) -> Option<Vec<ConvLayer>> {
    let number = |value: &CfgValue| match value {
        CfgValue::Int(value) => usize::try_from(*value).ok().filter(|value| *value <= MAX_NUMBER).map(Item::Number),
        _ => None,
    };
    let layer = |value: &CfgValue| match value {
        CfgValue::List(numbers) => numbers.iter().map(number).collect::<Option<_>>().map(Item::Tuple),
        _ => None,
    };
    let items = items.iter().take(MAX_ITEMS + 1).map(layer).collect::<Option<_>>()?;
    layers(&Item::List(items)).ok()
}

fn layers(value: &Item) -> Result<Vec<ConvLayer>, String> {
    let Item::List(items) = value else { return Err("it is not a list".into()) };
    if !(1..=MAX_ITEMS).contains(&items.len()) {
        return Err(format!("it lists {} convolutions, expected 1 to {MAX_ITEMS}", items.len()));
    }
    let layer = |item: &Item| match item {
        Item::Tuple(numbers) | Item::List(numbers) => match numbers[..] {
            [Item::Number(dim), Item::Number(kernel), Item::Number(stride)] if dim.min(kernel).min(stride) > 0 => {
                Ok(ConvLayer { dim, kernel, stride })
            }
            _ => Err("a convolution is not three positive numbers (dim, kernel, stride)".to_string()),
        },
        Item::Number(_) => Err("a convolution is not three positive numbers (dim, kernel, stride)".to_string()),
    };
    items.iter().map(layer).collect()
}

struct Parser<'t> {
    text: &'t [u8],
    at: usize,
    depth: usize,
}

impl Parser<'_> {
    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    fn skip_spaces(&mut self) {
        while self.peek().is_some_and(|byte| byte.is_ascii_whitespace()) {
            self.at += 1;
        }
    }

    /// Skips spaces and the byte, if it is next.
    fn take(&mut self, byte: u8) -> bool {
        self.skip_spaces();
        let found = self.peek() == Some(byte);
        self.at += usize::from(found);
        found
    }

    fn unexpected(&self) -> String {
        let what = match self.text.get(self.at..).and_then(|rest| rest.first()) {
            Some(byte) if byte.is_ascii_graphic() => format!("`{}`", char::from(*byte)),
            Some(_) => "a character that is not allowed".into(),
            None => "the end".into(),
        };
        format!("{what} at character {}, expected lists of (dim, kernel, stride) joined by + and *", self.at + 1)
    }

    fn sum(&mut self) -> Result<Item, String> {
        let mut sum = self.product()?;
        while self.take(b'+') {
            let next = self.product()?;
            sum = match (sum, next) {
                (Item::Number(a), Item::Number(b)) => bounded(a.checked_add(b))?,
                (Item::List(a), Item::List(b)) => Item::List(joined(a, b)?),
                (Item::Tuple(a), Item::Tuple(b)) => Item::Tuple(joined(a, b)?),
                _ => return Err("+ has a list on one side only".into()),
            };
        }
        Ok(sum)
    }

    fn product(&mut self) -> Result<Item, String> {
        let mut product = self.value()?;
        while self.take(b'*') {
            let next = self.value()?;
            product = match (product, next) {
                (Item::Number(a), Item::Number(b)) => bounded(a.checked_mul(b))?,
                (Item::List(items), Item::Number(times)) | (Item::Number(times), Item::List(items)) => {
                    Item::List(repeated(&items, times)?)
                }
                (Item::Tuple(items), Item::Number(times)) | (Item::Number(times), Item::Tuple(items)) => {
                    Item::Tuple(repeated(&items, times)?)
                }
                _ => return Err("* has a list on both sides".into()),
            };
        }
        Ok(product)
    }

    /// A number, a list, a tuple, or a sum in parentheses.
    fn value(&mut self) -> Result<Item, String> {
        self.skip_spaces();
        match self.peek() {
            Some(b'0'..=b'9') => self.number(),
            Some(open @ (b'[' | b'(')) => {
                self.at += 1;
                self.depth += 1;
                if self.depth > MAX_DEPTH {
                    return Err(format!("it nests brackets deeper than {MAX_DEPTH}"));
                }
                let (mut items, has_comma) = self.items(if open == b'[' { b']' } else { b')' })?;
                self.depth -= 1;
                match (open, has_comma, items.pop()) {
                    (b'(', false, Some(only)) if items.is_empty() => Ok(only),
                    (open, _, last) => {
                        items.extend(last);
                        Ok(if open == b'[' { Item::List(items) } else { Item::Tuple(items) })
                    }
                }
            }
            _ => Err(self.unexpected()),
        }
    }

    /// The items up to the closing bracket, and whether there was a comma.
    fn items(&mut self, close: u8) -> Result<(Vec<Item>, bool), String> {
        let (mut items, mut has_comma) = (Vec::new(), false);
        while !self.take(close) {
            if !items.is_empty() {
                if !self.take(b',') {
                    return Err(self.unexpected());
                }
                has_comma = true;
                if self.take(close) {
                    break;
                }
            }
            items.push(self.sum()?);
        }
        Ok((items, has_comma))
    }

    fn number(&mut self) -> Result<Item, String> {
        let mut number = 0usize;
        while let Some(digit @ b'0'..=b'9') = self.peek() {
            number = number.saturating_mul(10).saturating_add(usize::from(digit - b'0'));
            self.at += 1;
        }
        bounded(Some(number))
    }
}

fn bounded(number: Option<usize>) -> Result<Item, String> {
    let number = number.filter(|number| *number <= MAX_NUMBER);
    number.map(Item::Number).ok_or_else(|| format!("a number is above {MAX_NUMBER}"))
}

fn joined(mut a: Vec<Item>, b: Vec<Item>) -> Result<Vec<Item>, String> {
    check_size(nodes(&a).saturating_add(nodes(&b)), a.len() + b.len())?;
    a.extend(b);
    Ok(a)
}

fn repeated(items: &[Item], times: usize) -> Result<Vec<Item>, String> {
    let length = items.len().saturating_mul(times);
    check_size(nodes(items).saturating_mul(times), length)?;
    Ok(items.iter().cycle().take(length).cloned().collect())
}

/// The number of numbers and lists in a list.
fn nodes(items: &[Item]) -> usize {
    let node = |item: &Item| match item {
        Item::Number(_) => 1,
        Item::List(items) | Item::Tuple(items) => 1 + nodes(items),
    };
    items.iter().map(node).sum()
}

fn check_size(nodes: usize, items: usize) -> Result<(), String> {
    match nodes <= MAX_NODES && items <= MAX_ITEMS {
        true => Ok(()),
        false => Err(format!("it lists more than {MAX_ITEMS} convolutions")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Vec<(usize, usize, usize)>, String> {
        Ok(parse_conv_feature_layers(text)?.iter().map(|layer| (layer.dim, layer.kernel, layer.stride)).collect())
    }

    /// The values are Python's, by `eval`.
    #[test]
    fn expressions_of_checkpoints() {
        let base = [vec![(512, 10, 5)], vec![(512, 3, 2); 4], vec![(512, 2, 2); 2]].concat();
        for text in [
            "[(512,10,5)] + [(512,3,2)] * 4 + [(512,2,2)] * 2",
            "[(512, 10, 5)] + [(512, 3, 2)] * 4 + [(512,2,2)] + [(512,2,2)]",
            "[(512, 10, 5)] + 4 * [(512, 3, 2)] + ([(512, 2, 2)] * 2)\n",
            "[(512,10,5), (512,3,2), (512,3,2), (512,3,2), (512,3,2), (512,2,2), (512,2,2),]",
            "[[512,10,5]] + [[512,3,2]]*2*2 + [(512,2,2)]*(1+1)",
            "([(512,10,5)]) + ([(512,3,2)] * 2) * 2 + [(512,)+(2,2)] * 2",
        ] {
            assert_eq!(parse(text).unwrap(), base, "{text}");
        }
        assert_eq!(parse("[(1, 2, 3)] * 0 + [(4,5,6)]").unwrap(), [(4, 5, 6)]);
    }

    #[test]
    fn other_text_is_refused() {
        for (text, word) in [
            ("", "the end"),
            ("[", "the end"),
            ("[(512,10,5)", "the end"),
            ("[(512,10,5)] +", "the end"),
            ("[(512,10,5)] - [(512,3,2)]", "`-`"),
            ("__import__('os').system('true')", "`_`"),
            ("[(512,10,5) for _ in range(7)]", "`f`"),
            ("[(512,10,5)]é", "not allowed"),
            ("512", "not a list"),
            ("(512,10,5)", "not a list"),
            ("[]", "0 convolutions"),
            ("[(512,10)]", "three"),
            ("[(512,10,0)]", "positive"),
            ("[512, 10, 5]", "three"),
            ("[(512,10,5)] + 3", "one side"),
            ("[(512,10,5)] * [(512,3,2)]", "both sides"),
            ("[(512,10,5)] * 1025", "more than 1024"),
            ("[(512,10,5)] * 1024 + [(1,1,1)]", "more than 1024"),
            ("[[[[0] * 1024] * 1024] * 1024]", "more than 1024"),
            ("[(99999999999999999999999999,10,5)]", "above"),
            ("[(1048576*2,10,5)]", "above"),
            (&"(".repeat(17), "deeper"),
            (&" ".repeat(4097), "characters"),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.contains(word), "{text}: {error}");
        }
    }
}
