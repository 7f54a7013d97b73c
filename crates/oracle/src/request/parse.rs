//! Requests as JSON, in a short and a long form.
//!
//! Short: `{"gesture_token": 142, "consonance": 0.8, "rhythm_ratio": [3, 2]}`. Long: a condition
//! `{"parameter": "consonance", "type": ">", "value": 0.5, "weight": 0.7}`, a list of conditions, or `{"conditions": […]}`.
//! A list may mix both forms, and an object may have `conditions` beside short ones. Short conditions are taken first, in the order
//! token, rhythm ratio, other equalities, closeness; a list in its own order.

use std::str::FromStr;

use serde_json::{Map, Value};

use super::{Condition, ConditionKind, Parameter, Request, unique};
use crate::file::check::gcd;
use crate::{OracleError, Result};

const TYPES: &str = "==, near, >, <, abs >, abs <, gradient, gr_abs, next, prev";

impl FromStr for Request {
    type Err = OracleError;

    fn from_str(text: &str) -> Result<Self> {
        let value = unique::parse(text).map_err(|error| match error.is_data() {
            true => OracleError::request(error.to_string()),
            false => OracleError::request(format!(
                "it is not JSON ({error}): expected {{\"gesture_token\": 142}} or a list of conditions"
            )),
        })?;
        Request::from_json(&value)
    }
}

impl Request {
    /// The request of a JSON value.
    ///
    /// # Errors
    /// [`OracleError::Parameter`] and [`OracleError::Request`], which say what was expected.
    pub fn from_json(value: &Value) -> Result<Self> {
        let mut conditions = Vec::new();
        match value {
            Value::Object(object) => read_object(object, &mut conditions)?,
            Value::Array(list) => read_list(list, &mut conditions)?,
            _ => {
                return Err(OracleError::request(format!("it is {value}: expected an object or a list of conditions")));
            }
        }
        Ok(Request { conditions })
    }
}

fn read_list(list: &[Value], conditions: &mut Vec<Condition>) -> Result<()> {
    for value in list {
        match value {
            Value::Object(object) => read_object(object, conditions)?,
            _ => return Err(OracleError::request(format!("condition {value}: expected an object"))),
        }
    }
    Ok(())
}

fn read_object(object: &Map<String, Value>, conditions: &mut Vec<Condition>) -> Result<()> {
    if object.contains_key("parameter") {
        conditions.push(long_form(object)?);
        return Ok(());
    }
    let (mut short, mut long) = (Vec::new(), Vec::new());
    for (name, value) in object {
        match (name.as_str(), value) {
            ("conditions", Value::Array(list)) => read_list(list, &mut long)?,
            ("conditions", _) => {
                return Err(OracleError::request(format!("`conditions` is {value}: expected a list of conditions")));
            }
            ("type" | "value" | "weight", _) => {
                return Err(OracleError::request(format!("`{name}` without a `parameter`: add \"parameter\": NAME")));
            }
            _ => {
                let parameter = Parameter::of(name)?;
                short.push(Condition { parameter, kind: kind(parameter, None, Some(value))?, weight: 1.0 });
            }
        }
    }
    short.sort_by_key(precedence);
    conditions.append(&mut short);
    conditions.append(&mut long);
    Ok(())
}

/// The order of short conditions, which a JSON object does not have: the token before all, then what must be equal, then what
/// may be near. Of conditions that exclude each other the later one is dropped.
fn precedence(condition: &Condition) -> u8 {
    match (condition.parameter, condition.kind) {
        (Parameter::GestureToken, _) => 0,
        (Parameter::RhythmRatio, _) => 1,
        (_, ConditionKind::Near(_)) => 3,
        _ => 2,
    }
}

fn long_form(object: &Map<String, Value>) -> Result<Condition> {
    for name in object.keys() {
        if !["parameter", "type", "value", "weight"].contains(&name.as_str()) {
            let expected = "expected parameter, type, value, weight";
            return Err(OracleError::request(format!("unknown field `{name}` of a condition: {expected}")));
        }
    }
    let text = |name: &str| match object.get(name) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.as_str())),
        Some(other) => Err(OracleError::request(format!("`{name}` is {other}: expected a string"))),
    };
    let parameter = Parameter::of(text("parameter")?.unwrap_or_default())?;
    let weight = match object.get("weight") {
        None => 1.0,
        Some(weight) => weight.as_f64().filter(|weight| (0.0..=1.0).contains(weight)).ok_or_else(|| {
            let name = parameter.name();
            OracleError::request(format!("the weight of {name} is {weight}: expected a number from 0 to 1"))
        })?,
    };
    let kind = kind(parameter, text("type")?, object.get("value"))?;
    Ok(Condition { parameter, kind, weight })
}

/// The comparison; without a type that of the short form.
fn kind(parameter: Parameter, name: Option<&str>, value: Option<&Value>) -> Result<ConditionKind> {
    let subject = parameter.name();
    let step = match (name, value.and_then(Value::as_str)) {
        (Some(step @ ("next" | "prev")), _) | (None | Some("=="), Some(step @ ("next" | "prev"))) => Some(step),
        _ => None,
    };
    if let Some(step) = step {
        if parameter != Parameter::Index {
            return Err(OracleError::request(format!("`{step}` is for the parameter index, not for {subject}")));
        }
        return Ok(if step == "next" { ConditionKind::Next } else { ConditionKind::Previous });
    }
    let Some(value) = value else {
        return Err(OracleError::request(format!("the condition on {subject} has no value: add \"value\": …")));
    };
    let only_equality = |reason: &str| match name {
        None | Some("==") => Ok(()),
        Some(other) => Err(OracleError::request(format!("`{other}` of {subject}: {reason}; use =="))),
    };
    match parameter {
        Parameter::GestureToken => {
            only_equality("a token is a name of a centre, its number has no order")?;
            let token = value.as_u64().and_then(|token| u32::try_from(token).ok());
            token.map(ConditionKind::Token).ok_or_else(|| {
                OracleError::request(format!("gesture_token is {value}: expected the number of a token, such as 142"))
            })
        }
        Parameter::RhythmRatio => {
            only_equality("a ratio is compared as a reduced fraction")?;
            ratio(value).map(ConditionKind::Ratio).ok_or_else(|| {
                let expected = "expected two whole numbers from 1, such as [3, 2]";
                OracleError::request(format!("rhythm_ratio is {value}: {expected}"))
            })
        }
        Parameter::Index | Parameter::Feature(_) => {
            let Some(number) = value.as_f64().filter(|number| number.is_finite()) else {
                return Err(OracleError::request(format!("{subject} is {value}: expected a number")));
            };
            let default = if parameter.is_discrete() { "==" } else { "near" };
            Ok(match name.unwrap_or(default) {
                "==" => ConditionKind::Equal(number),
                "near" => ConditionKind::Near(number),
                ">" => ConditionKind::Greater(number),
                "<" => ConditionKind::Less(number),
                "abs >" => ConditionKind::AbsGreater(number),
                "abs <" => ConditionKind::AbsLess(number),
                "gradient" => ConditionKind::Gradient(number),
                "gr_abs" => ConditionKind::AbsGradient(number),
                other => {
                    return Err(OracleError::request(format!("unknown type `{other}` of {subject}: expected {TYPES}")));
                }
            })
        }
    }
}

fn ratio(value: &Value) -> Option<[u32; 2]> {
    let [over, under] = value.as_array()?.as_slice() else { return None };
    let number = |value: &Value| u32::try_from(value.as_u64()?).ok().filter(|number| *number > 0);
    let (over, under) = (number(over)?, number(under)?);
    let divisor = gcd(over, under);
    Some([over / divisor, under / divisor])
}
