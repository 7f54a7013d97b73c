//! The envelope `subsonic-response`, in JSON and in XML from one tree.

use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value};

/// The version of the Subsonic protocol whose answers these are.
const VERSION: &str = "1.16.1";

/// The form of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    Json,
    Xml,
}

/// A value of an answer.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Field {
    Text(String),
    Whole(i64),
    Number(f64),
    Flag(bool),
    /// In XML an element for each.
    List(Vec<Field>),
    /// Named values: in XML an element, with texts, numbers and flags as its attributes.
    Node(Vec<(&'static str, Field)>),
}

/// An answer with `fields`, or with an error's code and message.
pub(super) fn answer(form: Form, fields: &[(&'static str, Field)], error: Option<(u32, &str)>) -> Response {
    let text = |text: &str| Field::Text(text.into());
    let mut all = vec![
        ("status", text(if error.is_some() { "failed" } else { "ok" })),
        ("version", text(VERSION)),
        ("type", text("mert-search")),
        ("serverVersion", text(env!("CARGO_PKG_VERSION"))),
        ("openSubsonic", Field::Flag(true)),
    ];
    if let Some((code, message)) = error {
        all.push(("error", Field::Node(vec![("code", Field::Whole(code.into())), ("message", text(message))])));
    }
    all.extend_from_slice(fields);
    match form {
        Form::Json => {
            let body = serde_json::json!({ "subsonic-response": json(&Field::Node(all)) });
            ([(CONTENT_TYPE, "application/json")], body.to_string()).into_response()
        }
        Form::Xml => {
            let mut body = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
            all.insert(0, ("xmlns", text("http://subsonic.org/restapi")));
            write_xml(&mut body, "subsonic-response", &Field::Node(all));
            ([(CONTENT_TYPE, "text/xml; charset=utf-8")], body).into_response()
        }
    }
}

fn json(field: &Field) -> Value {
    match field {
        Field::Text(text) => text.as_str().into(),
        Field::Whole(number) => (*number).into(),
        Field::Number(number) => (*number).into(),
        Field::Flag(flag) => (*flag).into(),
        Field::List(fields) => fields.iter().map(json).collect(),
        Field::Node(fields) => {
            fields.iter().map(|(name, field)| (name.to_string(), json(field))).collect::<Map<_, _>>().into()
        }
    }
}

/// A value that is an attribute in XML, as text.
fn attribute(field: &Field) -> Option<String> {
    match field {
        Field::Text(text) => Some(text.clone()),
        Field::Whole(number) => Some(number.to_string()),
        Field::Number(number) => Some(number.to_string()),
        Field::Flag(flag) => Some(flag.to_string()),
        Field::List(_) | Field::Node(_) => None,
    }
}

fn write_xml(xml: &mut String, name: &str, field: &Field) {
    match field {
        Field::List(fields) => fields.iter().for_each(|field| write_xml(xml, name, field)),
        Field::Node(fields) => {
            xml.push('<');
            xml.push_str(name);
            for (name, text) in fields.iter().filter_map(|(name, field)| Some((name, attribute(field)?))) {
                xml.push_str(&format!(" {name}=\"{}\"", escape(&text)));
            }
            let before = xml.len();
            xml.push('>');
            for (name, field) in fields.iter().filter(|(_, field)| attribute(field).is_none()) {
                write_xml(xml, name, field);
            }
            if xml.len() == before + 1 {
                xml.truncate(before);
                xml.push_str("/>");
            } else {
                xml.push_str(&format!("</{name}>"));
            }
        }
        scalar => {
            let text = attribute(scalar).unwrap_or_default();
            xml.push_str(&format!("<{name}>{}</{name}>", escape(&text)));
        }
    }
}

/// A text between tags or quotation marks. What XML 1.0 cannot hold at all becomes U+FFFD.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            // Otherwise an attribute would have a space instead.
            '\t' | '\n' | '\r' => escaped.push_str(&format!("&#{};", character as u32)),
            '\0'..='\x1f' | '\u{fffe}' | '\u{ffff}' => escaped.push('\u{fffd}'),
            character => escaped.push(character),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_repeated_elements_and_texts_are_escaped() {
        let song = Field::Node(vec![
            ("title", Field::Text("a \"<&>\"\n\u{1}".into())),
            ("isrc", Field::List(vec![Field::Text("X<".into()), Field::Text("Y".into())])),
            ("isDir", Field::Flag(false)),
        ]);
        let mut xml = String::new();
        let matches = Field::List(vec![Field::Node(vec![("entry", song), ("similarity", Field::Number(0.5))])]);
        write_xml(&mut xml, "sonicMatch", &matches);
        assert_eq!(
            xml,
            "<sonicMatch similarity=\"0.5\"><entry title=\"a &quot;&lt;&amp;&gt;&quot;&#10;\u{fffd}\" isDir=\"false\">\
             <isrc>X&lt;</isrc><isrc>Y</isrc></entry></sonicMatch>"
        );
        let expected = serde_json::json!([{ "similarity": 0.5, "entry":
            { "title": "a \"<&>\"\n\u{1}", "isrc": ["X<", "Y"], "isDir": false } }]);
        assert_eq!(json(&matches), expected);
    }
}
