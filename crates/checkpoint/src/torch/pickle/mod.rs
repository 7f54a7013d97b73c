//! A parser for pickles of protocol 0 to 5 that executes nothing.
//!
//! A pickle is a program that calls Python classes and functions. Here a call makes an opaque object, except for the few
//! that rebuild tensors and dictionaries. Opcodes: CPython's
//! [`Lib/pickletools.py`](https://github.com/python/cpython/blob/main/Lib/pickletools.py).
//! - `value.rs`: the values; `contents.rs`: access to the contents of containers.
//! - `unpickler.rs`: the parser's state; `opcodes.rs`, `operands.rs`: its opcodes and their operands.
//! - `rebuild.rs`, `dtypes.rs`: PyTorch's calls and element types.
//! - `error.rs`: the reasons why a pickle cannot be parsed.

mod contents;
mod dtypes;
mod error;
mod opcodes;
mod operands;
mod rebuild;
mod unpickler;
mod value;

pub(super) use self::unpickler::Unpickler;
pub(super) use self::value::{Container, Storage, Value, View};
