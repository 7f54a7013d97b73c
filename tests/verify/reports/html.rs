//! The HTML page of `mert-verify --html`, read back by an XML parser and compared with the JSON report of the same run.

use std::path::{Path, PathBuf};

use mert_arch::{Dtype, Layout};
use mert_testkit::{ConvertedModel, fixture};
use quick_xml::Reader;
use quick_xml::escape::unescape;
use quick_xml::events::{BytesStart, Event};
use serde_json::Value;
use tempfile::TempDir;

use crate::common::{arg, changed_reference, convert, json, mert_verify, model, reference};

/// A page: its visible text, its numbers, and its attributes as element, name and value.
struct Page {
    text: String,
    numbers: Vec<f64>,
    attributes: Vec<(String, String, String)>,
}

impl Page {
    fn read(path: &Path) -> Self {
        let html = std::fs::read_to_string(path).unwrap();
        assert!(html.starts_with("<!DOCTYPE html>\n<html lang=\"en\">"), "{}", &html[..60]);
        let mut page = Page { text: String::new(), numbers: Vec::new(), attributes: Vec::new() };
        let mut reader = Reader::from_str(&html);
        let mut inside_style = false;
        loop {
            match reader.read_event().unwrap() {
                Event::Eof => break,
                Event::Start(tag) => {
                    inside_style = tag.name().as_ref() == b"style";
                    page.add(&tag);
                }
                Event::Empty(tag) => page.add(&tag),
                Event::End(_) => inside_style = false,
                Event::Text(text) if !inside_style => page.text += &text.decode().unwrap(),
                Event::GeneralRef(name) => page.text += &unescape(&format!("&{};", name.decode().unwrap())).unwrap(),
                _ => {}
            }
        }
        page
    }

    fn add(&mut self, tag: &BytesStart<'_>) {
        let element = String::from_utf8(tag.name().as_ref().to_vec()).unwrap();
        for attribute in tag.attributes().map(Result::unwrap) {
            let name = String::from_utf8(attribute.key.as_ref().to_vec()).unwrap();
            let value = unescape(std::str::from_utf8(&attribute.value).unwrap()).unwrap().into_owned();
            if (element.as_str(), name.as_str()) == ("data", "value") {
                self.numbers.push(value.parse().unwrap_or_else(|_| panic!("{value}")));
            }
            self.attributes.push((element.clone(), name, value));
        }
    }

    fn has_class(&self, element: &str, class: &str) -> bool {
        let is =
            |(e, a, v): &(String, String, String)| e == element && a == "class" && v.split(' ').any(|v| v == class);
        self.attributes.iter().any(is)
    }

    /// Asserts that every text, and every number of a measurement or limit, of the JSON report is in the page.
    fn assert_tells_all_of(&self, value: &Value, path: &str) {
        match value {
            Value::Object(fields) => {
                fields.iter().for_each(|(key, value)| self.assert_tells_all_of(value, &format!("{path}.{key}")))
            }
            Value::Array(values) => values.iter().for_each(|value| self.assert_tells_all_of(value, path)),
            Value::String(text) => assert!(self.text.contains(text.as_str()), "{path}: {text:?} is not in the page"),
            Value::Number(number)
                if path.contains("metrics") || path.contains("limits") || path.contains("timings") =>
            {
                let number = number.as_f64().unwrap();
                let found = self.numbers.iter().any(|other| other.to_bits() == number.to_bits());
                assert!(found, "{path}: {number:e} is not in the page");
            }
            Value::Number(_) | Value::Bool(_) | Value::Null => {}
        }
    }

    fn assert_loads_nothing(&self) {
        for (element, name, value) in &self.attributes {
            assert!(element != "script" && element != "link" && element != "iframe", "{element}");
            assert!(!name.starts_with("on") && name != "src" && name != "srcset", "{element} {name}");
            if name == "href" {
                assert!(value.starts_with('#') || value.starts_with("data:image/png;base64,"), "{element}: {value}");
            }
            assert!(!value.contains("http:") && !value.contains("https:"), "{element} {name}: {value}");
        }
    }
}

/// Verifies and reads both reports.
fn verify(folder: &TempDir, args: &[&str]) -> (i32, Page, Value) {
    let [html, json_file] = ["r.html", "r.json"].map(|name| folder.path().join(name));
    let (code, out, err) = mert_verify(&[args, &["--html", arg(&html), "--json", arg(&json_file)]].concat());
    assert!(html.is_file(), "{out}{err}");
    let (page, report) = (Page::read(&html), json(&json_file));
    page.assert_tells_all_of(&report, "");
    page.assert_loads_nothing();
    (code, page, report)
}

/// The fixture's model with the query bias of layer 5 dropped.
fn mutant(folder: &TempDir) -> PathBuf {
    let honest = convert(&fixture("mert-tiny/pytorch_model.bin"), folder, Dtype::F32, Layout::Mlx);
    let mut model = ConvertedModel::read(&honest).unwrap();
    model.tensor("encoder.layers.5.attention.q_proj.bias").values.fill(0.0);
    let path = folder.path().join("mutant.safetensors");
    model.write(&path).unwrap();
    path
}

#[test]
fn a_page_tells_what_passed() {
    let folder = TempDir::new().unwrap();
    let (code, page, report) = verify(&folder, &[]);
    assert_eq!(code, 0);
    assert!(page.text.contains("mert-verify: ✓ passed") && !page.text.contains("FAIL"), "{}", page.text);
    let layers = report["models"][0]["comparisons"][1]["layers"].as_array().unwrap();
    assert_eq!(layers.len(), 13);
    assert!(page.numbers.contains(&layers[12]["metrics"]["nmse"].as_f64().unwrap()));
    assert!(page.has_class("image", "sound") && page.has_class("image", "map") && !page.has_class("circle", "ring"));
    // The JSON report is the same with and without the page, up to durations.
    let alone = folder.path().join("alone.json");
    assert_eq!(mert_verify(&["--json", arg(&alone)]).0, 0);
    assert_eq!(json(&alone)["models"][0]["comparisons"], report["models"][0]["comparisons"]);
}

#[test]
fn a_page_tells_where_in_the_network_and_in_the_music_a_mutant_fails() {
    let folder = TempDir::new().unwrap();
    let (bad, r) = (mutant(&folder), reference());
    let (code, page, report) = verify(&folder, &[arg(&bad), "--reference", arg(&r)]);
    assert_eq!(code, 1);
    // Layer 5 gives hidden state 6.
    for text in [
        "mert-verify: ✗ FAILED",
        "The first bad one is hidden state 6 (the output of layer 6)",
        "7 of 13 hidden states fail",
    ] {
        assert!(page.text.contains(text), "{text}: {}", page.text);
    }
    let layers = report["models"][0]["comparisons"][0]["layers"].as_array().unwrap();
    let cosine = |layer: &&Value| layer["metrics"]["min_frame_cosine"].as_f64().unwrap();
    let worst = layers.iter().min_by(|a, b| cosine(a).total_cmp(&cosine(b))).unwrap();
    let frame = worst["metrics"]["worst_frame"].as_u64().unwrap();
    let seconds = (frame as f64 * 320.0 + 200.0) / 24_000.0;
    let text = format!("frame {frame} at {seconds:.3} s, hidden state {}: cosine", worst["layer"]);
    assert!(page.text.contains(&text), "{text}: {}", page.text);
    assert!(page.has_class("circle", "ring") && page.has_class("line", "worst-frame"));
}

#[test]
fn a_page_of_several_checks_has_errors_notes_and_reasons() {
    let folder = TempDir::new().unwrap();
    let path = |name: &str| folder.path().join(name);
    std::fs::copy(model(), path("good & <b>.safetensors")).unwrap();
    std::fs::copy(reference(), path("r.npz")).unwrap();
    let nan = changed_reference(&folder, |r| {
        r.rounded.clear();
        r.hidden_states[[4, 7, 0]] = f32::NAN;
    });
    mutant(&folder);
    std::fs::write(
        path("verify.yaml"),
        format!(
            "models:\n  - {{model: absent.safetensors, references: [r.npz]}}\n  - {{model: mutant.safetensors, references: \
             [r.npz], isolate: true}}\n  - model: \"good & <b>.safetensors\"\n    references: [r.npz, {}]\n    layers: [0, 4]\n    \
             tolerance: {{rounding: {{pooled_cosine: 0.5, below_floor: a <reason>}}}}\n",
            nan.file_name().unwrap().to_str().unwrap()
        ),
    )
    .unwrap();
    let (code, page, _) = verify(&folder, &["--config", arg(&path("verify.yaml"))]);
    assert_eq!(code, 2);
    for text in [
        "FAILED, and not completely checked",
        "absent.safetensors",
        "A floor is lowered: a <reason>",
        "structure was not judged",
        "1 values of the reference are NaN or infinite",
        "hidden state 4: cosine NaN",
        "each layer alone",
    ] {
        assert!(page.text.contains(text), "{text}: {}", page.text);
    }
}

/// Frames that disagree in number, and hidden states that the model lacks.
#[test]
fn a_page_of_what_cannot_be_compared_says_why() {
    let folder = TempDir::new().unwrap();
    let short = changed_reference(&folder, |r| {
        r.rounded.clear();
        r.hidden_states = r.hidden_states.slice(ndarray::s![.., 1.., ..]).to_owned();
    });
    let m = model();
    let (code, page, _) = verify(&folder, &[arg(&m), "--reference", arg(&short)]);
    assert_ne!(code, 0);
    assert!(page.text.contains("frames, the reference has"), "{}", page.text);
    assert!(page.text.contains("No hidden state could be compared frame by frame"), "{}", page.text);
}

#[test]
fn a_page_is_written_however_the_run_ends_and_bundles_have_none() {
    let folder = TempDir::new().unwrap();
    let html = folder.path().join("r.html");
    for args in [&["--no-such-option"][..], &["/no/such.safetensors"]] {
        std::fs::write(&html, "an earlier run passed").unwrap();
        assert_eq!(mert_verify(&[args, &["--html", arg(&html)]].concat()).0, 2);
        let page = Page::read(&html);
        assert!(page.text.contains("COULD NOT BE CHECKED") && !page.text.contains("passed"), "{}", page.text);
        page.assert_loads_nothing();
    }
    let bundle = folder.path().join("bundle");
    std::fs::create_dir(&bundle).unwrap();
    std::fs::write(bundle.join("config.json"), r#"{"model_type": "musicgen"}"#).unwrap();
    let other = folder.path().join("bundle.html");
    let (code, _, err) = mert_verify(&[arg(&bundle), "--html", arg(&other)]);
    assert_eq!(code, 2);
    assert!(err.contains("--html is for encoders") && !other.exists(), "{err}");
}
