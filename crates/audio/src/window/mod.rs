//! Windows of a track: the policy that chooses them (`policy.rs`), and the stream that cuts them (`stream.rs`).

mod policy;
mod stream;

pub use policy::{MAX_WINDOW_SECONDS, Tail, WindowPolicy};
pub use stream::{Window, Windows};
