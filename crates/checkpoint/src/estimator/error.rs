//! The reasons why a pickle of estimators cannot be read, as clauses about the file, which the caller names.

use thiserror::Error;

/// The reason why a pickle of estimators cannot be read, as a clause about the file.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum EstimatorError {
    /// The pickle is cut off, damaged, or too large.
    #[error("{0}")]
    Pickle(String),
    /// joblib compressed the file with a compressor that is not read here.
    #[error(
        "it is compressed with {compressor}, and only zlib and gzip are read; write it again in Python: \
         joblib.dump(joblib.load(\"{file}\"), \"{file}\", compress=0)"
    )]
    Compressor {
        /// The compressor.
        compressor: &'static str,
        /// The name of the file in the Python line.
        file: String,
    },
    /// The compressed data cannot be decompressed.
    #[error("its {compressor} data is damaged or cut off ({reason}); download or write it again")]
    Compressed {
        /// The compressor.
        compressor: &'static str,
        /// The decompressor's reason.
        reason: String,
    },
    /// The decompressed data would not fit.
    #[error("it is more than {limit} bytes when decompressed, which no vocabulary needs; write it without compression")]
    TooLarge {
        /// The limit in bytes.
        limit: usize,
    },
    /// joblib before 0.10 keeps arrays in files beside the pickle.
    #[error(
        "it was written by joblib before 0.10, which keeps arrays in `.npy` files of their own; load it in Python with that \
         joblib, and write it again with a newer one or with numpy.save"
    )]
    OldJoblib,
    /// An array has elements that are not read.
    #[error("`{name}` is an array of {found}, expected {expected}")]
    Array {
        /// The name of the array.
        name: String,
        /// The expected element type and shape.
        expected: &'static str,
        /// The value in the file.
        found: String,
    },
}
