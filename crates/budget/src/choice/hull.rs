//! The steps from option to option along the lower convex hull of each group's bytes and weighted losses.

use super::Problem;

/// A change of one group from an option to a larger one.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Step {
    pub(super) group: usize,
    pub(super) from: usize,
    pub(super) to: usize,
    /// The decrease of the weighted loss per byte.
    gain: f64,
}

impl Step {
    /// The bytes that the step adds.
    pub(super) fn bytes(&self, problem: &Problem) -> usize {
        let options = &problem.groups[self.group];
        options[self.to].bytes - options[self.from].bytes
    }
}

/// The steps of all groups in the order of their gain; equal ones in the order of groups.
pub(super) fn steps(problem: &Problem, weights: &[f64]) -> Vec<Step> {
    let mut all = Vec::new();
    for (group, options) in problem.groups.iter().enumerate() {
        let weighted: Vec<f64> = options
            .iter()
            .map(|option| option.losses.iter().zip(weights).map(|(&loss, weight)| f64::from(loss) * weight).sum())
            .collect();
        let mut hull: Vec<Step> = Vec::new();
        for to in 1..options.len() {
            // An option after which the gain grows lies above the hull.
            loop {
                let from = hull.last().map_or(0, |step| step.to);
                let bytes = options[to].bytes.saturating_sub(options[from].bytes).max(1);
                let gain = (weighted[from] - weighted[to]) / bytes as f64;
                if hull.last().is_some_and(|last| last.gain <= gain) {
                    hull.pop();
                    continue;
                }
                if gain > 0.0 {
                    hull.push(Step { group, from, to, gain });
                }
                break;
            }
        }
        all.extend(hull);
    }
    all.sort_by(|a, b| b.gain.total_cmp(&a.gain).then(a.group.cmp(&b.group)).then(a.to.cmp(&b.to)));
    all
}
