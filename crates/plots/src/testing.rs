//! What the tests read of an SVG, by an XML parser.

use quick_xml::Reader;
use quick_xml::events::Event;

/// An element with its attributes.
#[derive(Debug, Clone)]
pub(crate) struct Element {
    pub(crate) name: String,
    attributes: Vec<(String, String)>,
}

impl Element {
    pub(crate) fn attribute(&self, name: &str) -> &str {
        self.attributes.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str()).unwrap_or_default()
    }

    pub(crate) fn is(&self, name: &str, value: &str) -> bool {
        self.attribute(name) == value
    }

    pub(crate) fn number(&self, name: &str) -> f64 {
        self.attribute(name).parse().unwrap()
    }
}

/// All elements, in order; the document must be well-formed.
pub(crate) fn elements(svg: &str) -> Vec<Element> {
    let mut found = Vec::new();
    walk(svg, |event| {
        if let Event::Start(tag) | Event::Empty(tag) = event {
            let attribute = |a: quick_xml::events::attributes::Attribute<'_>| {
                (String::from_utf8(a.key.as_ref().to_vec()).unwrap(), String::from_utf8(a.value.to_vec()).unwrap())
            };
            found.push(Element {
                name: String::from_utf8(tag.name().as_ref().to_vec()).unwrap(),
                attributes: tag.attributes().map(|a| attribute(a.unwrap())).collect(),
            });
        }
    });
    found
}

/// The text of all text elements, unescaped.
pub(crate) fn texts(svg: &str) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    let mut inside = false;
    walk(svg, |event| match event {
        Event::Start(tag) if tag.name().as_ref() == b"text" => {
            inside = true;
            found.push(String::new());
        }
        Event::End(tag) if tag.name().as_ref() == b"text" => {
            inside = false;
            if let Some(text) = found.last_mut() {
                *text = text.trim().to_string();
            }
        }
        Event::Text(text) if inside => found.last_mut().unwrap().push_str(&text.decode().unwrap()),
        Event::GeneralRef(name) if inside => {
            let text = match name.as_ref() {
                b"lt" => "<",
                b"gt" => ">",
                b"amp" => "&",
                b"quot" => "\"",
                b"apos" => "'",
                other => panic!("unknown entity {other:?}"),
            };
            found.last_mut().unwrap().push_str(text);
        }
        _ => {}
    });
    found
}

fn walk(svg: &str, mut visit: impl FnMut(&Event<'_>)) {
    let mut reader = Reader::from_str(svg);
    reader.config_mut().check_end_names = true;
    loop {
        let event = reader.read_event().unwrap();
        if matches!(event, Event::Eof) {
            break;
        }
        visit(&event);
    }
}

/// The numbers of a list of points.
pub(crate) fn numbers(points: &str) -> Vec<f64> {
    points.split([' ', ',']).filter(|text| !text.is_empty()).map(|text| text.parse().unwrap()).collect()
}
