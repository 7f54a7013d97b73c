//! Navigation: a path through a memory that keeps to repeated contexts and follows a request, one event at a time.

mod candidates;
mod choice;
mod memory;
mod navigator;
mod options;
mod step;

pub use memory::Memory;
pub use navigator::Navigator;
pub use options::Options;
pub use step::{End, Rule, Step};

#[cfg(test)]
mod tests;
