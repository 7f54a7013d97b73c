//! The training of a vocabulary: which windows of which files, their frames in a folder beside the output, and k-means on
//! them. What is done is kept, so that an interrupted training continues.
//!
//! - `share.rs`: the files that are held out, and how many frames of each file are taken.
//! - `copies.rs`: files with the same bytes.
//! - `collect.rs`: the plan of a training, and the frames on their way into the store.
//! - `features.rs`: frames that another program has written.
//! - `store.rs`: the folder with frames and centres of a training that is not finished.
//! - `centres.rs`: from frames to centres.

mod centres;
mod collect;
mod copies;
mod features;
mod share;
mod store;

pub use centres::{Algorithm, KMeans, TrainEvent, Trained, judge, train_centres};
pub use collect::{CollectEvent, CollectionPlan, PlannedFile, Sampling, collect_frames};
pub use copies::copies;
pub use features::FeatureFile;
pub use share::{Share, WindowChoice, held_out, shares};
pub use store::{INPUT, Part, Store, StoredFile};
