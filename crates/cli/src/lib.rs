//! The parts that the commands share. Each command is a binary in a folder of its own: `convert/`, `embed/`, `search/`,
//! `verify/`, `generate/`, `tokens/`. They parse options, call the libraries and print; all that computes is in the libraries.

pub mod catalogue;
pub mod command_line;
pub mod conversion;
pub mod conversion_cache;
pub mod embedding;
pub mod hub;
pub mod model_input;
pub mod terminal;
