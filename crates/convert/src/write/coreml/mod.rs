//! Core ML packages: an ML Program that Core ML compiles and runs, written without Apple's tools.
//!
//! - `options.rs`: clip lengths, hidden states, deployment target.
//! - `program.rs`: the program of a plan; `model/`: the encoder in terms of `graph/`, which knows the operations.
//! - `proto.rs`: the messages of the format; `blob.rs`: the file of weights; `inline.rs`: the weights that are not in it;
//!   `description.rs`: the features and metadata that an app sees.
//! - `package.rs`: the folder.
//!
//! None of it is shared with the code that verifies packages.

mod blob;
mod description;
mod graph;
mod inline;
mod model;
mod options;
mod package;
mod program;
mod proto;

pub use self::options::{CoreMlOptions, DeploymentTarget, InputLengths};
pub use self::package::{CoreMlPackage, coreml};
pub use self::program::{CoreMlProgram, coreml_program};
