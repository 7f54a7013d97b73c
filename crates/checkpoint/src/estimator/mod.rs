//! The objects of a pickle that joblib or `pickle.dump` wrote, as data: estimators of scikit-learn, dictionaries, arrays.
//!
//! Nothing is executed, and scikit-learn is not needed: an object is its class's name and its attributes, an array its
//! shape, type and bytes.
//!
//! ```
//! use mert_checkpoint::estimator::PickledObjects;
//!
//! // pickle.dumps({"kmeans": None, "vocabulary_size": 64}, protocol=2)
//! let pickle = b"\x80\x02}q\x00(X\x06\x00\x00\x00kmeansq\x01NX\x0f\x00\x00\x00vocabulary_sizeq\x02K@u.";
//! let objects = PickledObjects::parse(pickle)?;
//! let root = objects.root();
//! assert_eq!(root.python_type(), "dict");
//! assert_eq!(root.get("vocabulary_size").and_then(|size| size.number()), Some(64.0));
//! assert!(root.get("kmeans").is_some_and(|kmeans| kmeans.is_none()));
//! # Ok::<(), mert_checkpoint::estimator::EstimatorError>(())
//! ```
//!
//! - `object.rs`: a value and access to what it holds; `array.rs`: numpy arrays.
//! - `compression.rs`: the compressors of joblib; `error.rs`: the reasons why a file cannot be read.

mod array;
mod compression;
mod error;
mod object;

pub use self::array::NumpyArray;
pub use self::compression::decompress;
pub use self::error::EstimatorError;
pub use self::object::{PickledObject, PickledObjects};
