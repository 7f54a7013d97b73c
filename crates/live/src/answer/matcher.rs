//! The event of a memory that is most like what was heard.

use std::collections::BTreeMap;

use mert_events::scale::FeatureScales;
use mert_events::{Event, FEATURES};
use mert_oracle::{Matching, Memory};

use crate::output::MatchRule;

/// The most tokens that are compared before the newest one.
const CONTEXT: usize = 8;

/// The centres of a vocabulary, to find a token that a memory has near one that it does not have.
#[derive(Debug, Clone, Default)]
pub struct Centres {
    /// The centres `(k, dim)` in row-major order.
    pub values: Vec<f32>,
    /// The width of a centre.
    pub dim: usize,
}

/// An event that was recognised.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Matched {
    /// The index of the event.
    pub event: u32,
    /// The rule.
    pub rule: MatchRule,
    /// The tokens before that it shares with what was heard.
    pub context: u32,
}

/// Recognises what was heard as an event of a memory.
#[derive(Debug)]
pub struct Matcher {
    by_token: BTreeMap<u32, Vec<u32>>,
    scales: Option<FeatureScales>,
    scaled: Vec<[Option<f64>; FEATURES.len()]>,
    /// For each event its token and its recording.
    events: Vec<(u32, u32)>,
    centres: Centres,
    nearest: BTreeMap<u32, Option<u32>>,
}

impl Matcher {
    /// A matcher of the events of `memory`; none for symbols and vectors.
    pub fn new(memory: &Memory, centres: Centres) -> Self {
        let events = memory.material().events().unwrap_or_default();
        let mut by_token: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
        for (index, event) in (0..).zip(events) {
            by_token.entry(event.token).or_default().push(index);
        }
        let scales = match memory.file().matching() {
            Matching::Events { scales, .. } => Some(scales.clone()),
            _ => None,
        };
        let scaled = scales.iter().flat_map(|scales| events.iter().map(|event| scales.scale(event))).collect();
        let events = events.iter().map(|event| (event.token, event.source)).collect();
        Matcher { by_token, scales, scaled, events, centres, nearest: BTreeMap::new() }
    }

    /// The event that is most like `tokens`, the last of which is the newest, and `heard`, the event that it is of.
    pub fn find(&mut self, tokens: &[u32], heard: Option<&Event>) -> Option<Matched> {
        let (&newest, before) = tokens.split_last()?;
        let (token, rule) = match self.by_token.contains_key(&newest) {
            true => (newest, MatchRule::Token),
            false => (self.nearest_token(newest)?, MatchRule::NearestCentre),
        };
        let heard = heard.zip(self.scales.as_ref()).map(|(event, scales)| scales.scale(event));
        let distance = |event: u32| match (&heard, &self.scales, self.scaled.get(event as usize)) {
            (Some(heard), Some(scales), Some(own)) => scales.distance(heard, own),
            _ => 0.0,
        };
        let candidates = self.by_token.get(&token)?.iter().copied();
        let best = candidates.map(|event| (event, self.context(event, before), distance(event)));
        let best = best.min_by(|a, b| b.1.cmp(&a.1).then(a.2.total_cmp(&b.2)).then(a.0.cmp(&b.0)))?;
        Some(Matched { event: best.0, rule, context: best.1 })
    }

    /// The number of tokens before an event of its recording that are those of `before`, counted from its end.
    fn context(&self, event: u32, before: &[u32]) -> u32 {
        let Some(&(_, source)) = self.events.get(event as usize) else { return 0 };
        let earlier = self.events.get(..event as usize).unwrap_or_default().iter().rev();
        let shared = earlier.zip(before.iter().rev().take(CONTEXT));
        shared.take_while(|(own, heard)| own.1 == source && own.0 == **heard).count() as u32
    }

    /// The token of the memory whose centre is nearest to that of `token`.
    fn nearest_token(&mut self, token: u32) -> Option<u32> {
        if let Some(found) = self.nearest.get(&token) {
            return *found;
        }
        let centre = |token: u32| {
            let start = (token as usize).checked_mul(self.centres.dim)?;
            self.centres.values.get(start..start.checked_add(self.centres.dim)?).filter(|row| !row.is_empty())
        };
        let found = centre(token).and_then(|own| {
            let distance = |other: &[f32]| -> f64 {
                own.iter().zip(other).map(|(&a, &b)| (f64::from(a) - f64::from(b)).powi(2)).sum()
            };
            let distances = self.by_token.keys().filter_map(|&other| Some((other, distance(centre(other)?))));
            distances.min_by(|a, b| a.1.total_cmp(&b.1).then(a.0.cmp(&b.0))).map(|(other, _)| other)
        });
        self.nearest.insert(token, found);
        found
    }
}
