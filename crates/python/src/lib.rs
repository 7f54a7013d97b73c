//! The native part of the Python package `mert_toolkit`: thin classes and functions over the libraries, with numpy arrays in and
//! out. The public interface is Python, in `python/mert_toolkit`, which checks and completes arguments; nothing else imports this.
//!
//! Whatever takes long runs without the interpreter's lock, and ends early when Python has a signal to handle.

mod additions;
mod arguments;
mod catalogue;
mod convert;
mod encoder;
mod errors;
mod interrupt;
mod table;
mod verify;
mod vocabulary;

use pyo3::prelude::*;

#[pymodule(name = "_native")]
mod native {
    #[pymodule_export]
    use super::additions::add_tables;
    #[pymodule_export]
    use super::catalogue::Catalogue;
    #[pymodule_export]
    use super::convert::convert;
    #[pymodule_export]
    use super::encoder::{Encoder, model_sha256, preprocessor, resample};
    #[pymodule_export]
    use super::errors::{AudioError, CatalogueError, ConversionError, MertError, ModelError, VerificationError};
    #[pymodule_export]
    use super::table::{find_inputs, write_table};
    #[pymodule_export]
    use super::verify::{verify, verify_config};
    #[pymodule_export]
    use super::vocabulary::Vocabulary;
    use super::*;

    #[pymodule_init]
    fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
        module.add("COMPRESSED_ABOVE", mert_search::COMPRESSED_ABOVE)?;
        module.add("__version__", env!("CARGO_PKG_VERSION"))
    }
}
