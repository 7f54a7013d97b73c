//! Models of the Hugging Face hub as inputs: `m-a-p/MERT-v1-95M`, through the cache that every client of the hub shares.
//!
//! [`HubName`] and [`HubFile`] parse what users type, [`HubSettings`] reads the environment variables of Python's
//! `huggingface_hub`, and [`fetch_model`], [`fetch_file`] and, for any selection of files, [`with_files`] find files in the
//! cache, or download and check them.
//!
//! ```
//! use std::fs;
//!
//! use mert_hub::{HubError, HubName, HubSettings, fetch_model};
//!
//! let cache = tempfile::tempdir()?;
//! let commit = "0123456789abcdef0123456789abcdef01234567";
//! let snapshot = cache.path().join("models--owner--name/snapshots").join(commit);
//! fs::create_dir_all(&snapshot)?;
//! fs::write(snapshot.join("config.json"), "{}")?;
//! fs::write(snapshot.join("model.safetensors"), "weights")?;
//!
//! let settings = HubSettings {
//!     endpoint: "https://huggingface.co".parse()?,
//!     cache: cache.path().to_path_buf(),
//!     token: None,
//!     offline: Some("HF_HUB_OFFLINE"), // the cache alone answers
//! };
//! let name = HubName::parse(&format!("owner/name@{commit}"))?;
//! let model = fetch_model(&name, &settings, &|_event| {})?;
//! assert_eq!(model.weights, snapshot.join("model.safetensors"));
//!
//! let missing = HubName::parse("hf://owner/missing")?;
//! assert!(matches!(fetch_model(&missing, &settings, &|_event| {}), Err(HubError::NotCached { .. })));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod cache;
mod client;
mod download;
mod endpoint;
mod error;
mod event;
mod file;
mod files;
mod model;
mod name;
mod repository;
mod response;
mod retry;
mod settings;
mod token;

pub use endpoint::Endpoint;
pub use error::HubError;
pub use event::HubEvent;
pub use file::fetch_file;
pub use files::{HubFileInfo, HubFiles, with_files};
pub use model::{HubModel, fetch_model};
pub use name::{HubFile, HubName};
pub use settings::HubSettings;
pub use token::Token;

pub(crate) type Result<T, E = HubError> = std::result::Result<T, E>;
