//! The unpickler's state: its stack, its memo, and the containers that it has made.

use std::collections::HashMap;
use std::rc::Rc;

use super::error::{PickleError, Result};
use super::value::{Dict, Object, Sequence, Storage, Value};

/// The limit on the values and marks that a pickle may push and the values that it may memoize. The largest real pickles
/// hold dictionaries of a million tokens; at this limit the values take about 300 MB.
pub(super) const MAX_VALUES: usize = 1 << 23;

/// The number of values that a container counts as.
pub(super) const CONTAINER_VALUES: usize = 3;

/// Parses consecutive pickles in a file. Containers are indices into the unpickler's own lists, because a pickle can
/// nest them deeper than a destructor can recurse, and inside themselves.
pub(crate) struct Unpickler<'a> {
    pub(super) file: &'a [u8],
    pub(super) at: usize,
    /// Offset and byte of the current opcode.
    pub(super) opcode: (usize, u8),
    pub(super) stack: Vec<Value<'a>>,
    pub(super) marks: Vec<usize>,
    pub(super) memo: HashMap<usize, Value<'a>>,
    pub(super) sequences: Vec<Sequence<'a>>,
    pub(super) dicts: Vec<Dict<'a>>,
    pub(super) objects: Vec<Object<'a>>,
    pub(super) storages: HashMap<&'a str, Rc<Storage<'a>>>,
    pub(super) values: usize,
    /// Raw arrays in the stream, as joblib writes them, are read.
    pub(super) has_raw_arrays: bool,
}

impl<'a> Unpickler<'a> {
    /// A parser at the start of a file.
    pub(crate) fn new(file: &'a [u8]) -> Self {
        Unpickler {
            file,
            at: 0,
            opcode: (0, 0),
            stack: Vec::new(),
            marks: Vec::new(),
            memo: HashMap::new(),
            sequences: Vec::new(),
            dicts: Vec::new(),
            objects: Vec::new(),
            storages: HashMap::new(),
            values: 0,
            has_raw_arrays: false,
        }
    }

    /// A parser of what joblib writes: a pickle with the elements of arrays between its opcodes.
    pub(crate) fn with_raw_arrays(file: &'a [u8]) -> Self {
        Unpickler { has_raw_arrays: true, ..Unpickler::new(file) }
    }

    /// The number of bytes read so far.
    pub(crate) fn position(&self) -> usize {
        self.at
    }

    /// The storages named by persistent ids, by key.
    pub(crate) fn storages(&self) -> &HashMap<&'a str, Rc<Storage<'a>>> {
        &self.storages
    }

    /// The error for the current opcode.
    pub(super) fn damaged(&self) -> PickleError {
        PickleError::Damaged { at: self.opcode.0, opcode: self.opcode.1 }
    }

    /// Counts one value towards the limit.
    pub(super) fn count(&mut self) -> Result<()> {
        self.values += 1;
        if self.values > MAX_VALUES { Err(PickleError::TooMany) } else { Ok(()) }
    }

    /// Pushes a value onto the stack.
    pub(super) fn push(&mut self, value: Value<'a>) -> Result<()> {
        self.count()?;
        self.stack.push(value);
        Ok(())
    }

    /// The value on top of the stack.
    pub(super) fn top(&self) -> Result<&Value<'a>> {
        self.stack.last().ok_or(self.damaged())
    }

    /// Removes the value on top of the stack.
    pub(super) fn pop(&mut self) -> Result<Value<'a>> {
        self.stack.pop().ok_or(self.damaged())
    }

    /// Removes the last `count` values of the stack.
    pub(super) fn pop_many(&mut self, count: usize) -> Result<Vec<Value<'a>>> {
        let start = self.stack.len().checked_sub(count).ok_or(self.damaged())?;
        Ok(self.stack.split_off(start))
    }

    /// Removes the last mark and the values above it.
    pub(super) fn above_mark(&mut self) -> Result<Vec<Value<'a>>> {
        match self.marks.pop() {
            Some(mark) if mark <= self.stack.len() => Ok(self.stack.split_off(mark)),
            _ => Err(self.damaged()),
        }
    }

    /// Appends items to the list on top of the stack.
    pub(super) fn append(&mut self, items: Vec<Value<'a>>) -> Result<()> {
        match *self.top()? {
            Value::Sequence(number) => self.sequences[number].items.extend(items),
            Value::Object(number) => self.objects[number].items.extend(items),
            _ => {}
        }
        Ok(())
    }

    /// Adds keys and values, in turn, to the dictionary on top of the stack.
    pub(super) fn set_items(&mut self, items: Vec<Value<'a>>) -> Result<()> {
        let entries = self.pairs(items)?;
        match *self.top()? {
            Value::Dict(number) => self.dicts[number].entries.extend(entries),
            Value::Object(number) => self.objects[number].entries.extend(entries),
            _ => {}
        }
        Ok(())
    }

    /// Sets an object's attributes, as BUILD does; those of a dictionary (`_metadata` of a state dict) or tensor are not its values.
    pub(super) fn build(&mut self, state: Value<'a>) -> Result<()> {
        if let Value::Object(number) = *self.top()? {
            self.objects[number].state = Some(state);
            if self.has_raw_arrays {
                self.raw_array(number)?;
            }
        }
        Ok(())
    }

    /// Keys and values, in turn, as pairs.
    pub(super) fn pairs(&self, items: Vec<Value<'a>>) -> Result<Vec<(Value<'a>, Value<'a>)>> {
        let mut pairs = Vec::with_capacity(items.len() / 2);
        let mut items = items.into_iter();
        while let Some(key) = items.next() {
            pairs.push((key, items.next().ok_or(self.damaged())?));
        }
        Ok(pairs)
    }

    /// Remembers the value on top of the stack under a number.
    pub(super) fn memoize(&mut self, key: usize) -> Result<()> {
        self.count()?;
        let value = self.top()?.clone();
        self.memo.insert(key, value);
        Ok(())
    }

    /// The value remembered under a number.
    pub(super) fn recall(&self, key: usize) -> Result<Value<'a>> {
        self.memo.get(&key).cloned().ok_or(self.damaged())
    }

    /// A new list, tuple or set.
    pub(super) fn sequence(&mut self, kind: &'static str, items: Vec<Value<'a>>) -> Value<'a> {
        self.values = self.values.saturating_add(CONTAINER_VALUES);
        self.sequences.push(Sequence { kind, items });
        Value::Sequence(self.sequences.len() - 1)
    }

    /// A new dictionary.
    pub(super) fn dict(&mut self, kind: &'static str, entries: Vec<(Value<'a>, Value<'a>)>) -> Value<'a> {
        self.values = self.values.saturating_add(CONTAINER_VALUES);
        self.dicts.push(Dict { kind, entries });
        Value::Dict(self.dicts.len() - 1)
    }
}
