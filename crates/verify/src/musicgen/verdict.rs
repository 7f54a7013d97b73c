//! The verdict on a bundle.

use serde::Serialize;

/// A figure of a part: its name, value and limit.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Figure {
    /// The name, such as `nmse`, `kl` or `differing codes`.
    pub name: &'static str,
    /// The value. NaN, which JSON writes as null, for what cannot be compared; it is beyond every limit.
    pub value: f64,
    /// The largest value that passes; `None` for a figure that is shown and not judged.
    pub limit: Option<f64>,
}

impl Figure {
    /// Whether the value is within its limit.
    pub fn passed(&self) -> bool {
        self.limit.is_none_or(|limit| self.value <= limit)
    }
}

/// The verdict on one part.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PartVerdict {
    /// The part: `hidden state 3`, `logits`, `prefix_k, layer 2`, `tokens`.
    pub part: String,
    /// Its figures.
    pub figures: Vec<Figure>,
    /// The reason why it could not be compared, which fails.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fault: Option<String>,
}

impl PartVerdict {
    /// A part that could not be compared.
    pub(super) fn fault(part: impl Into<String>, fault: impl Into<String>) -> Self {
        PartVerdict { part: part.into(), figures: Vec::new(), fault: Some(fault.into()) }
    }

    /// Whether every figure is within its limit.
    pub fn passed(&self) -> bool {
        self.fault.is_none() && !self.figures.is_empty() && self.figures.iter().all(Figure::passed)
    }
}

/// The comparison of a bundle with one reference.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct BundleComparison {
    /// The reference.
    pub reference: String,
    /// The parts that were compared.
    pub parts: Vec<PartVerdict>,
    /// The parts that the reference or the bundle lacks, each with the reason, which are not judged.
    pub not_compared: Vec<String>,
}

/// The verdict on a bundle.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct BundleVerdict {
    /// The bundle.
    pub bundle: String,
    /// The precision of its weights.
    pub exactness: String,
    /// A comparison for each reference.
    pub comparisons: Vec<BundleComparison>,
}

impl BundleVerdict {
    /// Whether every part of every comparison passed, and there is at least one.
    pub fn passed(&self) -> bool {
        let parts = || self.comparisons.iter().flat_map(|comparison| &comparison.parts);
        let compared = self.comparisons.iter().all(|comparison| !comparison.parts.is_empty());
        !self.comparisons.is_empty() && compared && parts().all(PartVerdict::passed)
    }
}
