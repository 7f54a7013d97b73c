//! A request against a memory: the product of its masks, computed once, and what must be said about its conditions.

use super::mask::mask;
use super::{Condition, ConditionKind, Dropped, Reason, Request};
use crate::Material;

/// A request prepared for a memory. Steps of a [`crate::Navigator`] only look up its product.
#[derive(Debug, Clone)]
pub struct Compiled {
    events: usize,
    conditions: Vec<Condition>,
    remarks: Vec<Dropped>,
    product: Option<Vec<f64>>,
    matching: Vec<u32>,
    steps: Vec<usize>,
}

impl Request {
    /// Prepares the request for a memory.
    ///
    /// The product of 1 - w + w·mask over the conditions is taken in their order. A condition of which nothing is left, by
    /// itself or with those before it, is dropped and named in [`Compiled::remarks`]. One that all events meet, or of weight 0,
    /// changes nothing.
    pub fn compile(&self, material: &Material) -> Compiled {
        let mut compiled = Compiled {
            events: material.len(),
            conditions: self.conditions.clone(),
            remarks: Vec::new(),
            product: None,
            matching: Vec::new(),
            steps: Vec::new(),
        };
        for (index, condition) in self.conditions.iter().enumerate() {
            if condition.weight == 0.0 {
                compiled.remarks.push(Dropped { condition: index, reason: Reason::NoWeight });
                continue;
            }
            if matches!(condition.kind, ConditionKind::Next | ConditionKind::Previous) {
                compiled.steps.push(index);
                continue;
            }
            let found = mask(condition, material);
            if let Some(reason) = found.remark {
                compiled.remarks.push(Dropped { condition: index, reason });
            }
            if found.values.iter().all(|value| *value <= 0.0) {
                compiled.remarks.push(Dropped { condition: index, reason: Reason::NothingMeets });
                continue;
            }
            // A condition that every event meets leaves the path as it is without a request.
            if found.values.iter().all(|value| *value == 1.0) {
                continue;
            }
            let weighted = found.values.iter().map(|mask| 1.0 - condition.weight + condition.weight * mask);
            let product: Vec<f64> = match &compiled.product {
                Some(product) => product.iter().zip(weighted).map(|(product, mask)| product * mask).collect(),
                None => weighted.collect(),
            };
            if product.iter().all(|value| *value <= 0.0) {
                compiled.remarks.push(Dropped { condition: index, reason: Reason::Conflict });
                continue;
            }
            compiled.product = Some(product);
        }
        if let Some(product) = &compiled.product {
            let events = product.iter().enumerate().filter(|(_, value)| **value > 0.0);
            compiled.matching = events.map(|(event, _)| event as u32).collect();
        }
        compiled
    }
}

impl Compiled {
    /// The conditions, as in the request.
    pub fn conditions(&self) -> &[Condition] {
        &self.conditions
    }

    /// The remarks about conditions: those that are dropped, have no effect, or were replaced by a nearest value.
    pub fn remarks(&self) -> &[Dropped] {
        &self.remarks
    }

    /// The dropped conditions among the remarks.
    pub fn dropped(&self) -> impl Iterator<Item = &Dropped> {
        self.remarks.iter().filter(|remark| matches!(remark.reason, Reason::NothingMeets | Reason::Conflict))
    }

    /// A remark as a sentence.
    pub fn explain(&self, remark: &Dropped) -> String {
        let condition = self.conditions.get(remark.condition).map(ToString::to_string).unwrap_or_default();
        match remark.reason {
            Reason::NothingMeets => format!("`{condition}` is dropped: no event of the memory meets it"),
            Reason::Conflict => {
                format!("`{condition}` is dropped: no event meets it together with the conditions before it")
            }
            Reason::NotHere => format!("`{condition}` is dropped for this step: no such event meets the request"),
            Reason::OtherMemory => format!("`{condition}` is dropped: the request was prepared for another memory"),
            Reason::OneValue => format!("`{condition}` has no effect: all events have one value"),
            Reason::NoWeight => format!("`{condition}` has no effect: its weight is 0"),
            Reason::NearestValue(value) => format!("`{condition}` takes {value}, the nearest value in the memory"),
            Reason::NearestRatio([over, under]) => {
                format!("`{condition}` takes {over}:{under}, the nearest ratio in the memory")
            }
        }
    }

    /// The product of the masks at an event, without `next` and `prev`.
    pub fn product(&self, event: u32) -> f64 {
        match &self.product {
            Some(product) => product.get(event as usize).copied().unwrap_or(0.0),
            None => 1.0,
        }
    }

    /// The number of events of the memory that the request is prepared for.
    pub(crate) fn events(&self) -> usize {
        self.events
    }

    /// The events with a product above 0, ascending; `None` if no condition restricts or prefers events of the memory.
    pub(crate) fn matching(&self) -> Option<&[u32]> {
        self.product.as_ref().map(|_| self.matching.as_slice())
    }

    /// The indices of the `next` and `prev` conditions.
    pub(crate) fn steps(&self) -> &[usize] {
        &self.steps
    }

    /// The factor of the `next` and `prev` conditions for an event after the current one.
    pub(crate) fn step_factor(&self, current: Option<u32>, event: u32) -> f64 {
        self.steps.iter().filter_map(|index| self.conditions.get(*index)).fold(1.0, |factor, condition| {
            let wanted = match condition.kind {
                ConditionKind::Next => current.and_then(|current| current.checked_add(1)),
                _ => current.and_then(|current| current.checked_sub(1)),
            };
            if wanted == Some(event) { factor } else { factor * (1.0 - condition.weight) }
        })
    }
}
