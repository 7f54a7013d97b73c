//! The operands of pickle opcodes: numbers, strings, lines.

use super::error::{PickleError, Result};
use super::unpickler::Unpickler;
use super::value::Value;

impl<'a> Unpickler<'a> {
    /// The next `count` bytes.
    pub(super) fn take(&mut self, count: usize) -> Result<&'a [u8]> {
        let end = self.at.checked_add(count).ok_or(PickleError::CutOff)?;
        let taken = self.file.get(self.at..end).ok_or(PickleError::CutOff)?;
        self.at = end;
        Ok(taken)
    }

    /// The next byte.
    pub(super) fn byte(&mut self) -> Result<u8> {
        self.take(1)?.first().copied().ok_or(PickleError::CutOff)
    }

    /// The next line, without its end.
    pub(super) fn line(&mut self) -> Result<&'a [u8]> {
        let rest = self.file.get(self.at..).unwrap_or_default();
        let length = rest.iter().position(|&byte| byte == b'\n').ok_or(PickleError::CutOff)?;
        let line = self.take(length)?;
        self.take(1)?;
        Ok(line.strip_suffix(b"\r").unwrap_or(line))
    }

    /// The next line as text.
    fn text_line(&mut self) -> Result<&'a str> {
        std::str::from_utf8(self.line()?).map_err(|_| self.damaged())
    }

    /// The next line as a number.
    pub(super) fn number_line(&mut self) -> Result<usize> {
        self.text_line()?.parse().map_err(|_| self.damaged())
    }

    /// A length in `width` little-endian bytes.
    pub(super) fn length(&mut self, width: usize) -> Result<usize> {
        let mut wide = [0; 8];
        let bytes = self.take(width)?;
        wide.get_mut(..width).ok_or(PickleError::CutOff)?.copy_from_slice(bytes);
        usize::try_from(u64::from_le_bytes(wide)).map_err(|_| PickleError::CutOff)
    }

    /// An unsigned integer in `width` bytes.
    pub(super) fn unsigned(&mut self, width: usize) -> Result<Value<'a>> {
        Ok(i64::try_from(self.length(width)?).map_or(Value::Scalar("int"), Value::Int))
    }

    /// A two's complement integer in `width` bytes; one wider than 64 bits cannot be a size or offset.
    pub(super) fn int(&mut self, width: usize) -> Result<Value<'a>> {
        let bytes = self.take(width)?;
        let negative = bytes.last().is_some_and(|byte| byte & 0x80 != 0);
        let mut wide = [if negative { 0xff } else { 0 }; 8];
        Ok(match wide.get_mut(..width) {
            Some(low) => {
                low.copy_from_slice(bytes);
                Value::Int(i64::from_le_bytes(wide))
            }
            None => Value::Scalar("int"),
        })
    }

    /// A float in eight big-endian bytes.
    pub(super) fn float(&mut self) -> Result<f64> {
        let bytes = self.take(8)?.first_chunk().ok_or(PickleError::CutOff)?;
        Ok(f64::from_be_bytes(*bytes))
    }

    /// A string preceded by its length. Python strings may hold code points that UTF-8 cannot; such a string is not a
    /// tensor's name.
    pub(super) fn text(&mut self, width: usize) -> Result<Value<'a>> {
        let length = self.length(width)?;
        Ok(std::str::from_utf8(self.take(length)?).map_or(Value::Scalar("str"), Value::Text))
    }

    /// Bytes preceded by their length.
    pub(super) fn bytes(&mut self, width: usize) -> Result<&'a [u8]> {
        let length = self.length(width)?;
        self.take(length)
    }

    /// A class or function in two lines: its module and its name.
    pub(super) fn global_lines(&mut self) -> Result<Value<'a>> {
        let module = self.text_line()?;
        Ok(global(module, self.text_line()?))
    }
}

/// A class or function by its dotted name; Python 2 module names are replaced by their new ones.
pub(super) fn global<'a>(module: &str, name: &str) -> Value<'a> {
    let module = match module {
        "__builtin__" => "builtins",
        "copy_reg" => "copyreg",
        module => module,
    };
    // Longer names are not real, and one string can be reused for many.
    if module.len().saturating_add(name.len()) > 1 << 10 {
        return Value::Scalar("a class");
    }
    Value::Global(format!("{module}.{name}").into())
}

/// An integer in decimal digits, with the `L` of Python 2.
pub(super) fn decimal<'a>(digits: &[u8]) -> Value<'a> {
    let digits = digits.strip_suffix(b"L").unwrap_or(digits);
    let parsed = std::str::from_utf8(digits).ok().and_then(|digits| digits.parse().ok());
    parsed.map_or(Value::Scalar("int"), Value::Int)
}

/// A float in decimal digits.
pub(super) fn float<'a>(digits: &[u8]) -> Value<'a> {
    let parsed = std::str::from_utf8(digits).ok().and_then(|digits| digits.parse().ok());
    parsed.map_or(Value::Scalar("float"), Value::Float)
}

/// A string of protocol 0: `raw-unicode-escape`, in which bytes are Latin-1 and some characters are `\uXXXX`.
pub(super) fn unicode_line(line: &[u8]) -> Value<'_> {
    match std::str::from_utf8(line) {
        Ok(text) if text.is_ascii() && !text.contains('\\') => Value::Text(text),
        _ => Value::EscapedText(line),
    }
}

/// A string of protocol 0, quoted, from Python 2. One with escapes is not a tensor's name.
pub(super) fn literal(line: &[u8]) -> Value<'_> {
    let quoted = |quote: u8| line.strip_prefix(&[quote])?.strip_suffix(&[quote]);
    let inner = quoted(b'\'').or_else(|| quoted(b'"')).unwrap_or(line);
    match std::str::from_utf8(inner) {
        Ok(text) if !text.contains('\\') => Value::Text(text),
        _ => Value::Scalar("str"),
    }
}
