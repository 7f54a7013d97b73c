//! One file for each format: what it writes, and what it reads back.

mod columns;
pub(crate) mod jsonl;
pub(crate) mod npy;
pub(crate) mod npz;
mod ordered;
pub(crate) mod parquet;
pub(crate) mod safetensors;
