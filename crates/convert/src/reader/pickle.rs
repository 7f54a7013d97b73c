use std::collections::HashMap;
use std::rc::Rc;

use super::SourceDtype;

/// A tensor as a pickle describes it: a view of a storage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct View {
    pub(super) storage: Storage,
    /// The first element, counted from the storage's beginning.
    pub(super) offset: usize,
    pub(super) shape: Vec<usize>,
    pub(super) strides: Vec<usize>,
}

/// A storage as a persistent id names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Storage {
    pub(super) key: String,
    pub(super) dtype: SourceDtype,
    pub(super) elements: usize,
}

impl View {
    /// Whether the elements lie one after another in row-major order.
    pub(super) fn is_contiguous(&self) -> bool {
        let mut expected = 1;
        self.shape.len() == self.strides.len()
            && self.shape.iter().zip(&self.strides).rev().all(|(&extent, &stride)| {
                let follows = extent == 1 || stride == expected;
                expected = expected.saturating_mul(extent);
                follows
            })
    }
}

/// Values of a pickle, as far as they lead to tensors. Containers are numbers of the unpickler's own lists:
/// a pickle can nest them deeper than a destructor can recurse, and into themselves.
#[derive(Debug, Clone)]
pub(super) enum Value {
    Text(Rc<str>),
    Int(i64),
    /// A list or a tuple.
    Sequence(usize),
    Dict(usize),
    /// A class or function, as `module name`.
    Global(Rc<str>),
    Storage(Rc<Storage>),
    Tensor(Rc<View>),
    Other,
}

/// Follows pickles to where they say the tensors are (opcodes: CPython's `Lib/pickletools.py`).
///
/// `pytorch-reader` decides what a checkpoint holds, but does not tell where in the file a tensor lies,
/// without which it can only be had as a whole, in memory. This machine knows the opcodes that
/// `torch.save` writes for dictionaries of tensors, calls nothing, and gives up (`None`) on all else.
pub(super) struct Unpickler<'a> {
    bytes: &'a [u8],
    stack: Vec<Value>,
    marks: Vec<usize>,
    memo: HashMap<usize, Value>,
    sequences: Vec<Vec<Value>>,
    dicts: Vec<Vec<(Value, Value)>>,
}

impl<'a> Unpickler<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Unpickler {
            bytes,
            stack: Vec::new(),
            marks: Vec::new(),
            memo: HashMap::new(),
            sequences: Vec::new(),
            dicts: Vec::new(),
        }
    }

    /// The bytes behind what has been read.
    pub(super) fn rest(&self) -> &'a [u8] {
        self.bytes
    }

    /// One pickle, up to its STOP.
    pub(super) fn load(&mut self) -> Option<Value> {
        (self.stack, self.marks, self.memo) = Default::default();
        loop {
            match self.byte()? {
                b'.' => return self.stack.pop(),
                opcode => self.step(opcode)?,
            }
        }
    }

    fn step(&mut self, opcode: u8) -> Option<()> {
        match opcode {
            0x80 => drop(self.byte()?),  // PROTO
            0x95 => drop(self.take(8)?), // FRAME
            b'(' => self.marks.push(self.stack.len()),
            b'0' => drop(self.stack.pop()?),                     // POP
            b'N' | 0x88 | 0x89 => self.stack.push(Value::Other), // NONE, NEWTRUE, NEWFALSE
            b'G' => {
                self.take(8)?; // BINFLOAT
                self.stack.push(Value::Other);
            }
            b'J' => self.int(4)?,
            b'K' => self.unsigned(1)?,
            b'M' => self.unsigned(2)?,
            0x8a => {
                let length = usize::from(self.byte()?); // LONG1
                self.int(length)?;
            }
            b'X' => self.text(4)?,
            0x8c => self.text(1)?,
            b']' | b')' => self.push_sequence(Vec::new()),
            b'}' => {
                let dict = self.new_dict();
                self.stack.push(dict);
            }
            b't' => {
                let items = self.above_mark()?;
                self.push_sequence(items);
            }
            0x85..=0x87 => {
                let items = self.top(usize::from(opcode - 0x84))?; // TUPLE1 to TUPLE3
                self.push_sequence(items);
            }
            b'a' => {
                let items = self.top(1)?;
                self.append(items)?;
            }
            b'e' => {
                let items = self.above_mark()?;
                self.append(items)?;
            }
            b's' => {
                let items = self.top(2)?;
                self.set_items(items)?;
            }
            b'u' => {
                let items = self.above_mark()?;
                self.set_items(items)?;
            }
            b'q' => self.memoize(1)?,
            b'r' => self.memoize(4)?,
            0x94 => drop(self.memo.insert(self.memo.len(), self.stack.last()?.clone())),
            b'h' => self.recall(1)?,
            b'j' => self.recall(4)?,
            b'c' => {
                let (module, name) = (self.line()?, self.line()?);
                self.stack.push(Value::Global(format!("{module} {name}").into()));
            }
            0x93 => {
                let [Value::Text(module), Value::Text(name)] = &self.top(2)?[..] else { return None };
                self.stack.push(Value::Global(format!("{module} {name}").into()));
            }
            b'Q' => {
                let id = self.stack.pop()?;
                let storage = self.storage(&id).map_or(Value::Other, |storage| Value::Storage(storage.into()));
                self.stack.push(storage);
            }
            b'R' | 0x81 => {
                let [callable, arguments] = &self.top(2)?[..] else { return None }; // REDUCE, NEWOBJ
                let made = self.call(callable, arguments);
                self.stack.push(made);
            }
            // BUILD sets attributes (`_metadata` of a state dict), not entries.
            b'b' => drop(self.stack.pop()?),
            _ => return None,
        }
        Some(())
    }

    fn byte(&mut self) -> Option<u8> {
        self.take(1)?.first().copied()
    }

    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.bytes.split_at_checked(count)?;
        self.bytes = rest;
        Some(taken)
    }

    fn line(&mut self) -> Option<&'a str> {
        let end = self.bytes.iter().position(|&byte| byte == b'\n')?;
        let line = self.take(end)?;
        self.byte()?;
        std::str::from_utf8(line).ok()
    }

    fn length(&mut self, width: usize) -> Option<usize> {
        let mut wide = [0; 8];
        wide.get_mut(..width)?.copy_from_slice(self.take(width)?);
        usize::try_from(u64::from_le_bytes(wide)).ok()
    }

    fn unsigned(&mut self, width: usize) -> Option<()> {
        let value = self.length(width)?;
        self.stack.push(Value::Int(value.try_into().ok()?));
        Some(())
    }

    /// A two's complement integer; one that is wider than 64 bits is no size or offset.
    fn int(&mut self, width: usize) -> Option<()> {
        let bytes = self.take(width)?;
        let negative = bytes.last().is_some_and(|byte| byte & 0x80 != 0);
        let mut wide = [if negative { 0xff } else { 0 }; 8];
        let value = match wide.get_mut(..width) {
            Some(low) => {
                low.copy_from_slice(bytes);
                Value::Int(i64::from_le_bytes(wide))
            }
            None => Value::Other,
        };
        self.stack.push(value);
        Some(())
    }

    fn text(&mut self, width: usize) -> Option<()> {
        let length = self.length(width)?;
        let text = std::str::from_utf8(self.take(length)?).ok()?;
        self.stack.push(Value::Text(text.into()));
        Some(())
    }

    fn top(&mut self, count: usize) -> Option<Vec<Value>> {
        let start = self.stack.len().checked_sub(count)?;
        Some(self.stack.split_off(start))
    }

    fn above_mark(&mut self) -> Option<Vec<Value>> {
        let mark = self.marks.pop()?;
        (mark <= self.stack.len()).then(|| self.stack.split_off(mark))
    }

    fn append(&mut self, items: Vec<Value>) -> Option<()> {
        if let Value::Sequence(list) = self.stack.last()? {
            self.sequences.get_mut(*list)?.extend(items);
        }
        Some(())
    }

    fn set_items(&mut self, items: Vec<Value>) -> Option<()> {
        if let Value::Dict(dict) = self.stack.last()? {
            let dict = self.dicts.get_mut(*dict)?;
            let mut items = items.into_iter();
            while let (Some(key), Some(value)) = (items.next(), items.next()) {
                dict.push((key, value));
            }
        }
        Some(())
    }

    fn memoize(&mut self, width: usize) -> Option<()> {
        let key = self.length(width)?;
        self.memo.insert(key, self.stack.last()?.clone());
        Some(())
    }

    fn recall(&mut self, width: usize) -> Option<()> {
        let key = self.length(width)?;
        self.stack.push(self.memo.get(&key)?.clone());
        Some(())
    }

    fn push_sequence(&mut self, items: Vec<Value>) {
        self.stack.push(Value::Sequence(self.sequences.len()));
        self.sequences.push(items);
    }

    fn new_dict(&mut self) -> Value {
        self.dicts.push(Vec::new());
        Value::Dict(self.dicts.len() - 1)
    }

    /// The items of a list or tuple.
    pub(super) fn items(&self, value: &Value) -> Option<&[Value]> {
        match value {
            Value::Sequence(number) => self.sequences.get(*number).map(Vec::as_slice),
            _ => None,
        }
    }

    /// What a call makes, for the calls that `torch.save` writes; none is ever made.
    fn call(&mut self, callable: &Value, arguments: &Value) -> Value {
        let (Value::Global(name), Some(arguments)) = (callable, self.items(arguments)) else { return Value::Other };
        match (&**name, arguments) {
            ("collections OrderedDict", []) => self.new_dict(),
            ("torch._utils _rebuild_parameter", [tensor @ Value::Tensor(_), ..]) => tensor.clone(),
            // A seventh argument holds marks such as `neg`, which change what the bytes mean.
            (
                "torch._utils _rebuild_tensor_v2",
                [Value::Storage(storage), Value::Int(offset), shape, strides, _, _],
            ) => {
                let view = || {
                    Some(View {
                        storage: Storage::clone(storage),
                        offset: usize::try_from(*offset).ok()?,
                        shape: self.sizes(shape)?,
                        strides: self.sizes(strides)?,
                    })
                };
                view().map_or(Value::Other, |view| Value::Tensor(view.into()))
            }
            _ => Value::Other,
        }
    }

    fn sizes(&self, value: &Value) -> Option<Vec<usize>> {
        let size = |item: &Value| match item {
            Value::Int(size) => usize::try_from(*size).ok(),
            _ => None,
        };
        self.items(value)?.iter().map(size).collect()
    }

    /// The persistent id of a storage: `("storage", class, key, location, elements)`, in legacy files with
    /// a view behind it, which is None.
    fn storage(&self, id: &Value) -> Option<Storage> {
        let (root, view) = self.items(id)?.split_at_checked(5)?;
        let [Value::Text(kind), Value::Global(class), Value::Text(key), _, Value::Int(elements)] = root else {
            return None;
        };
        let dtype = match &**class {
            "torch DoubleStorage" => SourceDtype::F64,
            "torch FloatStorage" => SourceDtype::F32,
            "torch HalfStorage" => SourceDtype::F16,
            "torch BFloat16Storage" => SourceDtype::Bf16,
            _ => return None,
        };
        let is_root = matches!(view, [] | [Value::Other]);
        (&**kind == "storage" && is_root).then_some(())?;
        Some(Storage { key: key.to_string(), dtype, elements: usize::try_from(*elements).ok()? })
    }

    /// Every tensor under `root`, by its dotted path through the dictionaries. A path that leads to two
    /// tensors leads to neither.
    pub(super) fn tensors(&self, root: Value) -> HashMap<String, Rc<View>> {
        /// More values and longer paths than any checkpoint has: a pickle can describe a tree that is larger
        /// than the memory, or has no end.
        const VALUES: usize = 1 << 18;
        const PATH: usize = 1 << 10;
        let mut found: HashMap<String, Option<Rc<View>>> = HashMap::new();
        let mut open = vec![(String::new(), root)];
        for _ in 0..VALUES {
            match open.pop() {
                None => return found.into_iter().filter_map(|(path, view)| Some((path, view?))).collect(),
                Some((path, Value::Tensor(view))) => {
                    found.entry(path).and_modify(|twice| *twice = None).or_insert(Some(view));
                }
                Some((path, Value::Dict(dict))) if path.len() < PATH => {
                    // Of a key that is set twice the last value counts.
                    let mut last: HashMap<&str, &Value> = HashMap::new();
                    for (key, value) in self.dicts.get(dict).into_iter().flatten() {
                        if let Value::Text(key) = key {
                            last.insert(key, value);
                        }
                    }
                    let joined = |key: &str| if path.is_empty() { key.to_string() } else { format!("{path}.{key}") };
                    open.extend(last.into_iter().map(|(key, value)| (joined(key), value.clone())));
                }
                Some(_) => {}
            }
        }
        HashMap::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn depth_and_cycles_are_harmless() {
        // A tuple in a tuple in a tuple …
        let nested = [&[0x80, 2, b')'][..], &vec![0x85; 1_000_000], b"."].concat();
        assert!(Unpickler::new(&nested).load().is_some());

        // d = {}; d["a"] = d
        let mut cyclic = Unpickler::new(b"\x80\x02}q\x00X\x01\0\0\0ah\x00s.");
        let root = cyclic.load().unwrap();
        assert!(cyclic.tensors(root).is_empty());
    }

    #[test]
    fn what_is_not_known_or_cut_off_gives_nothing() {
        for bytes in
            [&b""[..], b"\x80", b"\x80\x02", b"t.", b"u.", b"R.", b"h\x07.", b"X\xff\xff\xff\xffa.", b"P0\n.", b"."]
        {
            assert!(Unpickler::new(bytes).load().is_none(), "{bytes:?}");
        }
    }

    #[test]
    fn contiguous_views() {
        let view = |shape: &[usize], strides: &[usize]| {
            let storage = Storage { key: "0".into(), dtype: SourceDtype::F32, elements: 24 };
            View { storage, offset: 0, shape: shape.to_vec(), strides: strides.to_vec() }.is_contiguous()
        };
        assert!(view(&[2, 3, 4], &[12, 4, 1]));
        assert!(view(&[], &[]));
        // The stride of an axis of one element does not matter.
        assert!(view(&[2, 1, 4], &[4, 99, 1]));
        assert!(!view(&[2, 3, 4], &[12, 1, 3]));
        assert!(!view(&[2, 3], &[0, 1]));
    }
}
