//! A check of JSON against the schemas of an OpenAPI document: the keywords that the document uses.

use serde_json::Value;

/// The first thing in `value` that is not as `schema` says.
pub(crate) fn fault(document: &Value, schema: &Value, value: &Value, place: &str) -> Option<String> {
    if let Some(reference) = schema["$ref"].as_str() {
        let target = document.pointer(reference.trim_start_matches('#'));
        return match target {
            Some(schema) => fault(document, schema, value, place),
            None => Some(format!("{place}: the document has no {reference}")),
        };
    }
    let types: Vec<&str> = match &schema["type"] {
        Value::String(name) => vec![name],
        Value::Array(names) => names.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    };
    let is_of = |name: &&str| match *name {
        "null" => value.is_null(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        "string" => value.is_string(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        _ => false,
    };
    if !types.is_empty() && !types.iter().any(is_of) {
        return Some(format!("{place}: expected {types:?}, found {value}"));
    }
    if let Some(allowed) = schema["enum"].as_array()
        && !allowed.contains(value)
    {
        return Some(format!("{place}: expected one of {allowed:?}, found {value}"));
    }
    if let Some(items) = value.as_array() {
        let (least, most) = (schema["minItems"].as_u64(), schema["maxItems"].as_u64());
        if least.is_some_and(|least| items.len() < least as usize)
            || most.is_some_and(|most| items.len() > most as usize)
        {
            return Some(format!("{place}: {} items", items.len()));
        }
        let faults = items.iter().enumerate();
        return faults
            .filter(|_| schema["items"].is_object())
            .find_map(|(index, item)| fault(document, &schema["items"], item, &format!("{place}[{index}]")));
    }
    let fields = value.as_object()?;
    for name in schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        if !fields.contains_key(name) {
            return Some(format!("{place}: {name} is missing"));
        }
    }
    let properties = schema["properties"].as_object()?;
    for (name, field) in fields {
        // What is answered and not described is a gap in the description.
        let Some(schema) = properties.get(name) else { return Some(format!("{place}: {name} is not described")) };
        let found = fault(document, schema, field, &format!("{place}.{name}"));
        if found.is_some() {
            return found;
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn wrong_values_are_found() {
        let document = json!({ "s": { "type": "object", "required": ["a"], "properties": {
            "a": { "type": "array", "items": { "type": ["integer", "null"] }, "minItems": 1 }, "b": { "enum": ["x"] } } } });
        let schema = json!({ "$ref": "#/s" });
        let fault = |value: Value| fault(&document, &schema, &value, "").is_some();
        assert!(!fault(json!({ "a": [1, null], "b": "x" })));
        let wrong = [json!([]), json!({}), json!({ "a": [] }), json!({ "a": [1.5] }), json!({ "a": [1], "b": "y" })];
        wrong.into_iter().for_each(|value| assert!(fault(value.clone()), "{value}"));
        assert!(fault(json!({ "a": [1], "c": 1 })));
    }
}
