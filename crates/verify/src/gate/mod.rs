//! The gate: it compares a candidate with references and judges every hidden state. All verdicts are made here; `report/`
//! only renders them.

mod compare;
mod comparison;
mod frames;
mod layer;
mod model;
mod path_text;
mod quantized_verdict;
mod questions;
mod unnormalized_reference;
mod verdict;
mod weights;

pub use self::compare::CompareOptions;
pub(crate) use self::compare::compare_model;
pub use self::comparison::{Comparison, Question};
pub(crate) use self::frames::MAX_FRAME_RECORDS;
pub use self::frames::{FrameDistance, FrameRecord, FrameTimes};
pub use self::layer::LayerVerdict;
pub(crate) use self::layer::judge_layer;
pub use self::model::{ForwardTime, ModelVerdict, Outcome, WorstState};
pub use self::verdict::{ModelError, Verdict};
pub use self::weights::WeightsVerdict;
