//! A parser for pickles of protocol 0 to 5 that executes nothing.
//!
//! A pickle is a program that calls Python classes and functions. Here a call makes an opaque object, except for the few
//! that rebuild tensors and dictionaries. Opcodes: CPython's
//! [`Lib/pickletools.py`](https://github.com/python/cpython/blob/main/Lib/pickletools.py).
//! - `value.rs`: the values; `contents.rs`: access to the contents of containers.
//! - `unpickler.rs`: the parser's state; `opcodes.rs`, `operands.rs`: its opcodes and their operands.
//! - `rebuild.rs`, `dtypes.rs`: PyTorch's calls and element types.
//! - `numpy.rs`: numpy's element types, and the arrays that joblib writes between the opcodes.
//! - `error.rs`: the reasons why a pickle cannot be parsed.

mod contents;
mod dtypes;
mod error;
mod numpy;
mod opcodes;
mod operands;
mod rebuild;
mod unpickler;
mod value;

pub(crate) use self::error::PickleError;
pub(crate) use self::numpy::ElementType;
pub(crate) use self::unpickler::Unpickler;
pub(crate) use self::value::{Container, Storage, Value, View};
