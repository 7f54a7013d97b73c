//! The mask of a condition: for each event of a memory how well it meets the condition, 0 to 1.

use super::{Condition, ConditionKind, Parameter, Reason};
use crate::Material;

/// The difference from which a value counts as another one: a request is typed in decimals.
const SAME: f64 = 1e-9;

/// The mask, with what must be said about it.
pub(super) struct Mask {
    pub(super) values: Vec<f64>,
    pub(super) remark: Option<Reason>,
}

/// The mask of a condition that does not depend on the current event. An event without the value meets no condition.
pub(super) fn mask(condition: &Condition, material: &Material) -> Mask {
    let events = 0..material.len();
    match condition.kind {
        ConditionKind::Next | ConditionKind::Previous => Mask { values: vec![1.0; events.len()], remark: None },
        ConditionKind::Token(token) => {
            let values = events.map(|event| hit(material.token(event) == Some(token))).collect();
            Mask { values, remark: None }
        }
        ConditionKind::Ratio(wanted) => ratio_mask(wanted, material),
        _ => {
            let values: Vec<Option<f64>> = events.map(|event| number(condition.parameter, material, event)).collect();
            numeric_mask(condition, &values)
        }
    }
}

fn number(parameter: Parameter, material: &Material, event: usize) -> Option<f64> {
    match parameter {
        Parameter::Index => Some(event as f64),
        Parameter::Feature(index) => material.events()?.get(event)?.features.get(index).copied().flatten(),
        Parameter::GestureToken | Parameter::RhythmRatio => None,
    }
}

fn hit(met: bool) -> f64 {
    if met { 1.0 } else { 0.0 }
}

fn ratio_mask(wanted: [u32; 2], material: &Material) -> Mask {
    let ratios: Vec<Option<[u32; 2]>> = match material.events() {
        Some(events) => events.iter().map(|event| event.rhythm_ratio).collect(),
        None => vec![None; material.len()],
    };
    let select = |wanted: [u32; 2]| ratios.iter().map(|ratio| hit(*ratio == Some(wanted))).collect();
    let proportion = |[over, under]: [u32; 2]| (f64::from(over) / f64::from(under)).ln();
    let distance = |ratio: &[u32; 2]| (proportion(*ratio) - proportion(wanted)).abs();
    let nearest = ratios
        .iter()
        .flatten()
        .min_by(|left, right| distance(left).total_cmp(&distance(right)).then_with(|| left.cmp(right)));
    match nearest {
        Some(nearest) if *nearest != wanted => {
            Mask { values: select(*nearest), remark: Some(Reason::NearestRatio(*nearest)) }
        }
        _ => Mask { values: select(wanted), remark: None },
    }
}

fn numeric_mask(condition: &Condition, values: &[Option<f64>]) -> Mask {
    let each = |mask: &dyn Fn(f64) -> f64| values.iter().map(|value| value.map_or(0.0, mask)).collect();
    let plain = |mask: &dyn Fn(f64) -> f64| Mask { values: each(mask), remark: None };
    match condition.kind {
        ConditionKind::Greater(limit) => plain(&|value| hit(value > limit)),
        ConditionKind::Less(limit) => plain(&|value| hit(value < limit)),
        ConditionKind::AbsGreater(limit) => plain(&|value| hit(value.abs() > limit)),
        ConditionKind::AbsLess(limit) => plain(&|value| hit(value.abs() < limit)),
        ConditionKind::Equal(wanted) => {
            let distance = |value: f64| condition.parameter.distance(value, wanted);
            let nearest =
                values.iter().flatten().copied().min_by(|left, right| {
                    distance(*left).total_cmp(&distance(*right)).then_with(|| left.total_cmp(right))
                });
            let least = nearest.map_or(0.0, distance);
            let remark = nearest.filter(|_| least > SAME).map(Reason::NearestValue);
            Mask { values: each(&|value| hit(distance(value) <= least + SAME)), remark }
        }
        ConditionKind::Near(wanted) => {
            let Some((low, high)) = range(values, |value| value) else { return plain(&|_| 0.0) };
            if low == high {
                return Mask { values: each(&|_| 1.0), remark: Some(Reason::OneValue) };
            }
            let whole = match condition.parameter.name() {
                "root" => 6.0,
                _ => high.max(wanted) - low.min(wanted),
            };
            plain(&|value| 1.0 - condition.parameter.distance(value, wanted) / whole)
        }
        ConditionKind::Gradient(shape) => gradient(values, shape, |value| value),
        ConditionKind::AbsGradient(shape) => gradient(values, shape, f64::abs),
        ConditionKind::Token(_) | ConditionKind::Ratio(_) | ConditionKind::Next | ConditionKind::Previous => {
            plain(&|_| 1.0)
        }
    }
}

/// The power curve over the range of values. If all values are one, the curve is 1 for all: it prefers none.
fn gradient(values: &[Option<f64>], shape: f64, of: impl Fn(f64) -> f64) -> Mask {
    let Some((low, high)) = range(values, &of) else {
        return Mask { values: vec![0.0; values.len()], remark: None };
    };
    let curve = |value: f64| {
        if low == high {
            return 1.0;
        }
        let share = (of(value) - low) / (high - low);
        (if shape < 0.0 { 1.0 - share } else { share }).powf(shape.abs())
    };
    let remark = (low == high).then_some(Reason::OneValue);
    Mask { values: values.iter().map(|value| value.map_or(0.0, curve)).collect(), remark }
}

fn range(values: &[Option<f64>], of: impl Fn(f64) -> f64) -> Option<(f64, f64)> {
    values.iter().flatten().map(|value| of(*value)).fold(None, |range, value| match range {
        None => Some((value, value)),
        Some((low, high)) => Some((value.min(low), value.max(high))),
    })
}
