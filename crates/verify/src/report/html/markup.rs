//! Elements of the page. Text and attributes are escaped where they are set, so that no caller can forget it. The result is
//! HTML and well-formed XML alike.

use std::fmt::Display;

use mert_arch::{printable, printable_line};

/// The elements that HTML does not close.
const VOID: [&str; 2] = ["meta", "br"];

/// An element with its attributes and content.
#[derive(Debug, Clone)]
pub(super) struct Element {
    name: &'static str,
    attributes: String,
    content: String,
}

/// An element without attributes and content.
pub(super) fn el(name: &'static str) -> Element {
    Element { name, attributes: String::new(), content: String::new() }
}

/// A number in the form that people read, with its full value for programs.
pub(super) fn number(value: f64, shown: impl Display) -> Element {
    el("data").attr("value", format!("{value:e}")).text(shown)
}

impl Element {
    /// Sets an attribute.
    pub(super) fn attr(mut self, name: &str, value: impl Display) -> Self {
        self.attributes += &format!(" {name}=\"{}\"", escape(&printable_line(&value.to_string())));
        self
    }

    /// Sets the classes.
    pub(super) fn class(self, classes: &str) -> Self {
        self.attr("class", classes)
    }

    /// Appends text.
    pub(super) fn text(mut self, text: impl Display) -> Self {
        self.content += &escape(&printable(&text.to_string()));
        self
    }

    /// Appends an element.
    pub(super) fn child(mut self, child: Element) -> Self {
        child.write(&mut self.content);
        self
    }

    /// Appends elements.
    pub(super) fn children(self, children: impl IntoIterator<Item = Element>) -> Self {
        children.into_iter().fold(self, Element::child)
    }

    /// Appends this page's own style sheet, which has no characters to escape.
    pub(super) fn style_sheet(mut self, css: &'static str) -> Self {
        self.content += css;
        self
    }

    fn write(&self, page: &mut String) {
        let Element { name, attributes, content } = self;
        if VOID.contains(name) {
            *page += &format!("<{name}{attributes}/>");
        } else {
            *page += &format!("<{name}{attributes}>{content}</{name}>");
        }
        // Lines of a bounded length, for those who read the source.
        if BLOCKS.contains(name) {
            page.push('\n');
        }
    }

    /// The markup.
    pub(super) fn render(&self) -> String {
        let mut page = String::new();
        self.write(&mut page);
        page
    }
}

/// The elements after which a line of the source ends.
const BLOCKS: [&str; 16] = [
    "meta", "title", "style", "head", "body", "html", "section", "details", "figure", "table", "tr", "p", "li", "h2",
    "svg", "div",
];

fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped += "&amp;",
            '<' => escaped += "&lt;",
            '>' => escaped += "&gt;",
            '"' => escaped += "&quot;",
            '\'' => escaped += "&#39;",
            c => escaped.push(c),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_cannot_become_markup() {
        let hostile = "<script>alert('1')</script> \"a\" & b\u{0}\u{1b}[31m\u{202e}";
        let element = el("span").attr("title", hostile).text(hostile);
        let escaped = "&lt;script&gt;alert(&#39;1&#39;)&lt;/script&gt; &quot;a&quot; &amp; b\\u{0}\\u{1b}[31m\\u{202e}";
        assert_eq!(element.render(), format!("<span title=\"{escaped}\">{escaped}</span>"));
        assert_eq!(el("b").attr("title", "a\nb").text("a\nb").render(), "<b title=\"a\\nb\">a\nb</b>");
    }

    #[test]
    fn only_void_elements_close_themselves() {
        assert_eq!(
            el("i").child(el("br")).child(el("span").class("x")).render(),
            "<i><br/><span class=\"x\"></span></i>"
        );
    }

    #[test]
    fn numbers_keep_their_full_value() {
        let value = 1.0 - 1e-13;
        let text = number(value, "1").render();
        let full = text.split('"').nth(1).unwrap();
        assert_eq!(full.parse::<f64>().unwrap().to_bits(), value.to_bits());
        assert_eq!(number(f64::NAN, "NaN").render(), "<data value=\"NaN\">NaN</data>");
    }
}
