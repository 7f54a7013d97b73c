//! The parts that `mert-embed` and `mert-search` share: options of a run, opening a model, embedding many files with a progress bar, signals
//! during that, and messages about single files.

mod args;
mod fast;
mod files;
pub mod interrupt;
mod messages;
mod open_model;
mod progress;

pub use args::{Damaged, RunArgs};
pub use fast::ArithmeticChoice;
pub use files::EmbedFiles;
pub use messages::{file_line, report_left_out};
pub use open_model::{OpenModel, sha256_of};
