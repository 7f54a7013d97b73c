//! Figures of an oracle, and the rule by which it is of no use.

use serde::Serialize;

use crate::{Links, OracleError, Result};

/// The number of events from which an oracle without any repetition is degenerate rather than short.
const ENOUGH_EVENTS: u32 = 32;

/// The share of links to state 0 from which an oracle is reported to repeat little.
const MANY_AT_ZERO: f64 = 0.9;

/// Figures of an oracle.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Statistics {
    /// The number of events.
    pub events: u32,
    /// The number of clusters: different symbols.
    pub clusters: u32,
    /// The number of events of the largest cluster.
    pub largest_cluster: u32,
    /// The mean length of repeated suffixes.
    pub mean_lrs: f64,
    /// The longest length of a repeated suffix.
    pub max_lrs: u32,
    /// The share of suffix links to state 0.
    pub links_at_zero: f64,
    /// The number of arrows.
    pub arrows: usize,
}

/// The meaning of the figures for navigation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// There are repetitions to jump between.
    Sound,
    /// The oracle works, and the reason says what to look at.
    Warning(String),
    /// The oracle has nothing to jump between. For rules with a threshold this is an error, and the reason says what to do.
    Degenerate(String),
}

impl Statistics {
    /// The figures of an oracle.
    pub fn of(links: &Links) -> Self {
        let events = links.events();
        let lengths = || (1..links.states()).map(|state| links.lrs(state));
        let clusters = links.clusters();
        let largest = (0..links.cluster_count()).map(|cluster| clusters.states(cluster).len()).max().unwrap_or(0);
        let share = |sum: f64| if events == 0 { 0.0 } else { sum / f64::from(events) };
        Statistics {
            events,
            clusters: links.cluster_count(),
            largest_cluster: largest as u32,
            mean_lrs: share(lengths().map(f64::from).sum()),
            max_lrs: lengths().max().unwrap_or(0),
            links_at_zero: share(f64::from(links.cluster_count())),
            arrows: links.arrows(),
        }
    }

    /// The warning of [`Statistics::verdict`], if there is one.
    ///
    /// # Errors
    /// [`OracleError::Degenerate`] for a degenerate oracle.
    pub fn check(&self, has_threshold: bool) -> Result<Option<String>> {
        match self.verdict(has_threshold) {
            Verdict::Sound => Ok(None),
            Verdict::Warning(reason) => Ok(Some(reason)),
            Verdict::Degenerate(reason) => Err(OracleError::Degenerate { reason }),
        }
    }

    /// The rule: an oracle in which every link leads to state 0 is degenerate from 32 events if its matches depend on a
    /// threshold, because another threshold repairs it; otherwise it is a warning. More than 90% of links to state 0, and one
    /// cluster for all events, are warnings.
    pub fn verdict(&self, has_threshold: bool) -> Verdict {
        let Statistics { events, clusters, .. } = *self;
        if events < 2 {
            return Verdict::Sound;
        }
        if clusters == events {
            let reason = format!("all {events} events differ, so that every suffix link leads to state 0");
            return match (has_threshold, events >= ENOUGH_EVENTS) {
                (true, true) => Verdict::Degenerate(format!(
                    "{reason}: choose a higher threshold, see the curve of the information rate"
                )),
                (true, false) => Verdict::Warning(format!("{reason}: choose a higher threshold")),
                (false, _) => Verdict::Warning(format!("{reason}: there is nothing to jump between")),
            };
        }
        if clusters == 1 {
            let advice = if has_threshold { "choose a lower threshold" } else { "check the tokens" };
            return Verdict::Warning(format!("all {events} events are in one cluster: {advice}"));
        }
        if self.links_at_zero > MANY_AT_ZERO {
            let share = 100.0 * self.links_at_zero;
            return Verdict::Warning(format!(
                "{share:.0}% of the suffix links lead to state 0: {clusters} clusters in {events} events"
            ));
        }
        Verdict::Sound
    }
}
