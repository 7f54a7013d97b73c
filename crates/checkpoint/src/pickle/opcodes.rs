//! The opcodes of pickles.

use super::error::{PickleError, Result};
use super::operands::{decimal, float, global, literal, unicode_line};
use super::unpickler::Unpickler;
use super::value::Value;

impl<'a> Unpickler<'a> {
    /// Parses one pickle, up to its STOP.
    pub(crate) fn load(&mut self) -> Result<Value<'a>> {
        (self.stack, self.marks, self.memo) = Default::default();
        loop {
            let at = self.at;
            let opcode = self.byte()?;
            self.opcode = (at, opcode);
            match opcode {
                b'.' => return self.pop(),
                opcode => self.step(opcode)?,
            }
        }
    }

    /// Executes an opcode other than STOP.
    fn step(&mut self, opcode: u8) -> Result<()> {
        match opcode {
            0x80 => drop(self.take(1)?), // PROTO
            0x95 => drop(self.take(8)?), // FRAME
            b'(' => {
                self.count()?;
                self.marks.push(self.stack.len());
            }
            b'0' => {
                // POP, which also removes a mark
                if self.marks.pop_if(|mark| *mark == self.stack.len()).is_none() {
                    self.pop()?;
                }
            }
            b'1' => drop(self.above_mark()?), // POP_MARK
            b'2' => {
                let top = self.top()?.clone(); // DUP
                self.push(top)?;
            }
            b'a' => {
                let item = self.pop()?;
                self.append(vec![item])?;
            }
            b'e' | 0x90 => {
                let items = self.above_mark()?; // APPENDS, ADDITEMS
                self.append(items)?;
            }
            b's' => {
                let items = self.pop_many(2)?;
                self.set_items(items)?;
            }
            b'u' => {
                let items = self.above_mark()?;
                self.set_items(items)?;
            }
            b'p' => {
                let key = self.number_line()?;
                self.memoize(key)?;
            }
            b'q' | b'r' => {
                let key = self.length(if opcode == b'q' { 1 } else { 4 })?;
                self.memoize(key)?;
            }
            0x94 => self.memoize(self.memo.len())?, // MEMOIZE
            b'b' => {
                let state = self.pop()?; // BUILD
                self.build(state)?;
            }
            opcode => {
                let value = self.value(opcode)?;
                self.push(value)?;
            }
        }
        Ok(())
    }

    /// Executes an opcode that pushes one value.
    fn value(&mut self, opcode: u8) -> Result<Value<'a>> {
        Ok(match opcode {
            b'N' => Value::Scalar("None"),
            0x88 => Value::Bool(true),
            0x89 => Value::Bool(false),
            b'G' => Value::Float(self.float()?), // BINFLOAT
            b'F' => float(self.line()?),
            b'I' => match self.line()? {
                b"00" => Value::Bool(false),
                b"01" => Value::Bool(true),
                digits => decimal(digits),
            },
            b'L' => decimal(self.line()?),
            b'J' => self.int(4)?,
            b'K' => self.unsigned(1)?,
            b'M' => self.unsigned(2)?,
            0x8a => {
                let length = self.length(1)?; // LONG1
                self.int(length)?
            }
            0x8b => {
                let length = self.length(4)?; // LONG4
                self.int(length)?
            }
            b'S' => literal(self.line()?),
            // A string ends at the line feed alone: its carriage returns are escaped.
            b'V' => unicode_line(self.line()?),
            // Python 2 strings are bytes.
            b'T' | b'X' => self.text(4)?,
            b'U' | 0x8c => self.text(1)?,
            0x8d => self.text(8)?,
            b'C' => Value::Bytes(self.bytes(1)?),
            b'B' => Value::Bytes(self.bytes(4)?),
            0x8e => Value::Bytes(self.bytes(8)?),
            0x96 => Value::ByteArray(self.bytes(8)?),
            0x97 | 0x98 => return Err(PickleError::OutOfBand), // NEXT_BUFFER, READONLY_BUFFER
            b']' => self.sequence("list", Vec::new()),
            b')' => self.sequence("tuple", Vec::new()),
            0x8f => self.sequence("set", Vec::new()),
            b'l' | b't' | 0x91 => {
                let items = self.above_mark()?;
                self.sequence(
                    if opcode == b'l' {
                        "list"
                    } else if opcode == b't' {
                        "tuple"
                    } else {
                        "frozenset"
                    },
                    items,
                )
            }
            0x85..=0x87 => {
                let items = self.pop_many(usize::from(opcode - 0x84))?; // TUPLE1 to TUPLE3
                self.sequence("tuple", items)
            }
            b'}' => self.dict("dict", Vec::new()),
            b'd' => {
                let items = self.above_mark()?;
                let entries = self.pairs(items)?;
                self.dict("dict", entries)
            }
            b'g' => {
                let key = self.number_line()?;
                self.recall(key)?
            }
            b'h' | b'j' => {
                let key = self.length(if opcode == b'h' { 1 } else { 4 })?;
                self.recall(key)?
            }
            b'c' => self.global_lines()?,
            0x93 => match &self.pop_many(2)?[..] {
                [Value::Text(module), Value::Text(name)] => global(module, name), // STACK_GLOBAL
                _ => return Err(self.damaged()),
            },
            0x82 | 0x83 => {
                self.take(usize::from(opcode - 0x81))?; // EXT1, EXT2
                Value::Scalar("a registered extension")
            }
            0x84 => {
                self.take(4)?; // EXT4
                Value::Scalar("a registered extension")
            }
            b'P' => {
                self.line()?;
                Value::Scalar("a persistent object")
            }
            b'Q' => {
                let id = self.pop()?;
                self.persistent(&id)
            }
            b'R' | 0x81 => {
                let arguments = self.pop()?; // REDUCE, NEWOBJ
                let callable = self.pop()?;
                self.call(callable, arguments)
            }
            0x92 => {
                let [callable, arguments, _] = &self.pop_many(3)?[..] else { return Err(self.damaged()) }; // NEWOBJ_EX
                self.call(callable.clone(), arguments.clone())
            }
            b'i' => {
                let callable = self.global_lines()?; // INST
                let arguments = self.above_mark()?;
                let arguments = self.sequence("tuple", arguments);
                self.call(callable, arguments)
            }
            b'o' => {
                let mut arguments = self.above_mark()?; // OBJ
                if arguments.is_empty() {
                    return Err(self.damaged());
                }
                let callable = arguments.remove(0);
                let arguments = self.sequence("tuple", arguments);
                self.call(callable, arguments)
            }
            _ => return Err(self.damaged()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pickle::unpickler::{CONTAINER_VALUES, MAX_VALUES};

    #[test]
    fn depth_and_cycles_are_harmless() {
        // Tuples nested a million deep.
        let nested = [&[0x80, 2, b')'][..], &vec![0x85; 1_000_000], b"."].concat();
        assert!(Unpickler::new(&nested).load().is_ok());
        // d = {}; d["a"] = d
        let mut cyclic = Unpickler::new(b"\x80\x02}q\x00X\x01\0\0\0ah\x00s.");
        let root = cyclic.load().unwrap();
        assert!(matches!(cyclic.dict_of(&root), Some([(Value::Text("a"), Value::Dict(0))])));
    }

    #[test]
    fn truncated_and_malformed_pickles_are_errors() {
        for bytes in [&b""[..], b"\x80", b"\x80\x02", b"X\xff\xff\xff\xffa.", b"\x8d\xff\xff\xff\xff\xff\xff\xff\xffa."]
        {
            assert_eq!(Unpickler::new(bytes).load().unwrap_err(), PickleError::CutOff, "{bytes:?}");
        }
        for bytes in [&b"t."[..], b"u.", b"R.", b"h\x07.", b".", b"(o.", b"}(K\x07u.", b"\xff.", b"pq\n.", b"0."] {
            assert!(Unpickler::new(bytes).load().is_err(), "{bytes:?}");
        }
        assert_eq!(Unpickler::new(b"\x80\x05\x97.").load().unwrap_err(), PickleError::OutOfBand);
    }

    #[test]
    fn the_number_of_values_is_limited() {
        for (opcode, count) in [(b'N', MAX_VALUES), (b'(', MAX_VALUES), (b'}', MAX_VALUES / (1 + CONTAINER_VALUES))] {
            let many = [&vec![opcode; count + 1][..], b"."].concat();
            assert_eq!(Unpickler::new(&many).load().unwrap_err(), PickleError::TooMany);
        }
        // One list, passed to constructors repeatedly.
        let pairs = [&b"](NN\x86"[..], &b"2".repeat(1000), b"eq\0"].concat();
        let again = b"ccollections\nOrderedDict\nh\0\x85R".repeat(20_000);
        let copies = [&pairs[..], &again, b"."].concat();
        assert_eq!(Unpickler::new(&copies).load().unwrap_err(), PickleError::TooMany);
    }

    /// One value for every opcode that pushes one (`pickletools.opcodes` of CPython).
    #[test]
    fn every_opcode() {
        for (pickle, expected) in [
            (&b"N."[..], Value::Scalar("None")),
            (b"I01\n.", Value::Bool(true)),
            (b"I-7\n.", Value::Int(-7)),
            (b"L123L\n.", Value::Int(123)),
            (b"F1.5\n.", Value::Float(1.5)),
            (b"G\x3f\xf8\0\0\0\0\0\0.", Value::Float(1.5)),
            (b"J\xff\xff\xff\xff.", Value::Int(-1)),
            (b"K\xff.", Value::Int(255)),
            (b"M\x00\x01.", Value::Int(256)),
            (b"\x8a\x02\x00\x80.", Value::Int(-32768)),
            (b"\x8a\x00.", Value::Int(0)),
            (b"\x8b\x09\0\0\0\0\0\0\0\0\0\0\0\x01.", Value::Scalar("int")),
            (b"S'a'\n.", Value::Text("a")),
            (b"S'a\\n'\n.", Value::Scalar("str")),
            (b"Va\n.", Value::Text("a")),
            (b"T\x01\0\0\0a.", Value::Text("a")),
            (b"U\x01a.", Value::Text("a")),
            (b"X\x03\0\0\0\xed\xa0\x80.", Value::Scalar("str")),
            (b"\x8c\x01a.", Value::Text("a")),
            (b"\x8d\x01\0\0\0\0\0\0\0a.", Value::Text("a")),
            (b"Va\\u000a\xe9\n.", Value::EscapedText(b"a\\u000a\xe9")),
            (b"B\x01\0\0\0a.", Value::Bytes(b"a")),
            (b"C\x01a.", Value::Bytes(b"a")),
            (b"\x8e\x01\0\0\0\0\0\0\0a.", Value::Bytes(b"a")),
            (b"\x96\x01\0\0\0\0\0\0\0a.", Value::ByteArray(b"a")),
            (b"c_codecs\nencode\nX\x02\0\0\0\xc3\xa9X\x06\0\0\0latin1\x86R.", Value::Latin1("\u{e9}")),
            (b"\x82\x01.", Value::Scalar("a registered extension")),
            (b"\x83\x01\0.", Value::Scalar("a registered extension")),
            (b"\x84\x01\0\0\0.", Value::Scalar("a registered extension")),
            (b"P7\n.", Value::Scalar("a persistent object")),
            (b"NK\x070.", Value::Scalar("None")),
            (b"N(KK1.", Value::Scalar("None")),
            (b"N(0.", Value::Scalar("None")),
            (b"N20.", Value::Scalar("None")),
            (b"K\x01p300\n0g300\n.", Value::Int(1)),
            (b"K\x01r\x00\x01\0\x00j\x00\x01\0\0.", Value::Int(1)),
            (b"K\x01\x940h\x00.", Value::Int(1)),
        ] {
            assert_eq!(Unpickler::new(pickle).load(), Ok(expected), "{pickle:?}");
        }
        for (pickle, expected) in [
            (&b"(Nl."[..], "list"),
            (b"]Na.", "list"),
            (b"\x8f(K\x01K\x02\x90.", "set"),
            (b"(N\x91.", "frozenset"),
            (b"(NNd.", "dict"),
            (b"}NNs.", "dict"),
            (b"cm\nC\n)R.", "m.C"),
            (b"cm\nC\n)\x81.", "m.C"),
            (b"cm\nC\n)}\x92.", "m.C"),
            (b"(im\nC\n.", "m.C"),
            (b"(cm\nC\no.", "m.C"),
            (b"\x8c\x01m\x8c\x01C\x93)\x81}b.", "m.C"),
            (b"cm\nC\n)\x81NNs(NNu(Ne.", "m.C"),
            (b"ccopy_reg\n_reconstructor\ncm\nC\nc__builtin__\nobject\nN\x87R.", "m.C"),
            (b"ccopyreg\n__newobj__\ncm\nC\n\x85R.", "m.C"),
            (b"cnumpy._core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\0\x85C\x01b\x87R.", "numpy.ndarray"),
            (b"cm\nf\n)R)R.", "the result of a call"),
        ] {
            let mut unpickler = Unpickler::new(pickle);
            let value = unpickler.load().unwrap_or_else(|error| panic!("{error}: {pickle:?}"));
            assert_eq!(unpickler.python_type(&value), expected, "{pickle:?}");
        }
    }

    /// Random opcodes and real pickles with flipped bits give a value or an error, in bounded time and memory.
    #[test]
    fn damaged_pickles_never_panic() {
        use mert_testkit::{Damage, fixture};
        use proptest::prelude::*;
        const OPCODES: &[u8] =
            b".0(12FIJKLMNPQRSTUVXabcdghijlopqrstu}]){eGBC\x80\x81\x82\x83\x84\x85\x86\x87\x88\x89\x8a\x8b\x8c\
            \x8d\x8e\x8f\x90\x91\x92\x93\x94\x95\x96\x97\x98\0\x01\x02\n";
        let program = proptest::collection::vec(proptest::sample::select(OPCODES), 0..300);
        proptest!(ProptestConfig::with_cases(2000), |(program in program)| {
            let mut unpickler = Unpickler::new(&program);
            let _ = unpickler.load().map(|value| unpickler.python_type(&value).len());
        });
        let mut damage = Damage::new(3);
        let bytes = std::fs::read(fixture("pickles/objects-legacy.bin")).unwrap();
        for _ in 0..2000 {
            let damaged = damage.flip(&bytes, 0..bytes.len());
            let mut unpickler = Unpickler::new(&damaged);
            while unpickler.position() < damaged.len() && unpickler.load().is_ok() {}
        }
    }
}
