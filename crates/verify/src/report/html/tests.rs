//! The page is read back by an XML parser: what it says, for verdicts that have everything and for verdicts that have next to
//! nothing.

use std::collections::BTreeMap;

use mert_arch::{ComputeType, Dtype};
use ndarray::{Array2, Array3};
use quick_xml::Reader;
use quick_xml::events::Event;

use super::*;
use crate::candidate::Output;
use crate::gate::{Comparison, ForwardTime, FrameRecord, FrameTimes, Question, judge_layer};
use crate::{ModelEncoding, Tolerance};

const TIMES: FrameTimes = FrameTimes { sampling_rate: 24_000, hop: 320, receptive_field: 400 };

/// The page as its visible text and its attributes. Panics if it is not well-formed.
struct Page {
    text: String,
    attributes: Vec<(String, String, String)>,
    /// Elements that have attributes, in order, each with its own.
    elements: Vec<(String, BTreeMap<String, String>)>,
}

impl Page {
    fn of(verdict: &Verdict) -> Self {
        Page::read(&to_html(verdict))
    }

    fn read(html: &str) -> Self {
        let mut page = Page { text: String::new(), attributes: Vec::new(), elements: Vec::new() };
        let mut reader = Reader::from_str(html);
        reader.config_mut().check_end_names = true;
        let mut open = Vec::new();
        loop {
            match reader.read_event().unwrap_or_else(|error| panic!("{error}: {html}")) {
                Event::Eof => break,
                Event::Start(tag) => {
                    page.add(&tag);
                    open.push(tag.name().as_ref().to_vec());
                }
                Event::Empty(tag) => page.add(&tag),
                Event::End(_) => {
                    // Words of two elements are two words.
                    page.text.push(' ');
                    open.pop();
                }
                Event::Text(text) if open.last().is_none_or(|name| name != b"style") => {
                    page.text += &text.decode().unwrap();
                }
                Event::GeneralRef(name) => {
                    page.text += &quick_xml::escape::unescape(&format!("&{};", name.decode().unwrap())).unwrap()
                }
                _ => {}
            }
        }
        assert!(open.is_empty());
        page.text = page.text.split_whitespace().collect::<Vec<_>>().join(" ");
        page
    }

    fn add(&mut self, tag: &quick_xml::events::BytesStart<'_>) {
        let name = String::from_utf8(tag.name().as_ref().to_vec()).unwrap();
        self.elements.push((name.clone(), BTreeMap::new()));
        for attribute in tag.attributes() {
            let attribute = attribute.unwrap();
            let value = std::str::from_utf8(&attribute.value).unwrap();
            let value = quick_xml::escape::unescape(value).unwrap().into_owned();
            let key = String::from_utf8(attribute.key.as_ref().to_vec()).unwrap();
            self.elements.last_mut().unwrap().1.insert(key.clone(), value.clone());
            self.attributes.push((name.clone(), key, value));
        }
    }

    fn count(&self, element: &str, attribute: &str, value: &str) -> usize {
        let is =
            |(e, a, v): &&(String, String, String)| e == element && a == attribute && v.split(' ').any(|v| v == value);
        self.attributes.iter().filter(is).count()
    }

    /// The values of an attribute of all elements of a class, as numbers without a sign of percent.
    fn places(&self, element: &str, class: &str, attribute: &str) -> Vec<f64> {
        let of_class = |(name, attributes): &&(String, BTreeMap<String, String>)| {
            name == element && attributes.get("class").is_some_and(|value| value == class)
        };
        let value = |(_, attributes): &(String, BTreeMap<String, String>)| {
            attributes[attribute].trim_end_matches('%').parse().unwrap()
        };
        self.elements.iter().filter(of_class).map(value).collect()
    }

    fn descriptions(&self) -> Vec<&str> {
        self.attributes.iter().filter(|(_, name, _)| name == "aria-label").map(|(.., value)| value.as_str()).collect()
    }

    #[track_caller]
    fn has(&self, text: &str) {
        assert!(self.text.contains(text), "{text:?} is not in: {}", self.text);
    }
}

/// A comparison of hidden states with ones of a reference that is 1 everywhere.
fn comparison(states: &[(usize, Array2<f32>)], wanted: usize, frames: usize, samples: usize) -> Comparison {
    let reference = Array3::from_elem((wanted, frames, 4), 1.0f32);
    let tolerance = Tolerance::structure();
    let found: BTreeMap<usize, Array2<f32>> = states.iter().cloned().collect();
    let layers: Vec<_> = (0..wanted)
        .map(|layer| {
            let expected = reference.index_axis(ndarray::Axis(0), layer);
            judge_layer(layer, found.get(&layer), Some(expected), &tolerance)
        })
        .collect();
    let clip: Vec<f32> = (0..samples).map(|n| (n as f32 * 0.1).sin()).collect();
    Comparison {
        reference: "clip.npz".into(),
        question: Question::Structure,
        output: Output::Frames,
        reference_weights: ModelEncoding::of_floats(Dtype::F32),
        isolated: false,
        tolerance,
        frames: Some(FrameRecord::new(&found, reference.view(), &layers, TIMES, &clip)),
        layers,
    }
}

fn model(comparisons: Vec<Comparison>) -> ModelVerdict {
    ModelVerdict {
        model: "m.safetensors".into(),
        format: "mlx",
        dtype: Dtype::F32,
        encoding: "f32".into(),
        source_sha256: "abc123".into(),
        device: "cpu".into(),
        compute: ComputeType::F32,
        comparisons,
        weights: None,
        timings: vec![ForwardTime { reference: "clip.npz".into(), samples: 24_000, seconds: 0.25 }],
        worst: Vec::new(),
        notes: Vec::new(),
        failures: Vec::new(),
        errors: Vec::new(),
    }
}

fn verdict(models: Vec<ModelVerdict>) -> Verdict {
    Verdict { models, errors: Vec::new() }
}

fn good() -> Array2<f32> {
    Array2::ones((74, 4))
}

/// Wrong in one frame.
fn bad(frame: usize) -> Array2<f32> {
    let mut state = good();
    state[[frame, 0]] = -1.0;
    state
}

#[test]
fn exact_states_pass_on_an_axis_that_has_zero() {
    let page = Page::of(&verdict(vec![model(vec![comparison(&[(0, good()), (1, good())], 2, 74, 24_000)])]));
    page.has("mert-verify: ✓ passed");
    page.has("2 hidden states compared, all within tolerance");
    assert!(!page.text.contains("FAIL"), "{}", page.text);
    assert_eq!(page.count("circle", "class", "ring"), 0);
    // Two states in three plots, of which one has two measures.
    assert_eq!(page.count("circle", "class", "mark") + page.count("rect", "class", "mark"), 2 * 4 + 2);
    assert!(page.descriptions().contains(&"NMSE by hidden state: NMSE: largest 0.0e0, limit 1.0e-9, 0 of 2 beyond it"));
    assert_eq!(page.count("image", "class", "sound"), 1);
}

#[test]
fn a_failure_is_found_in_the_network_and_in_the_music() {
    let states = [(0, good()), (1, bad(30)), (2, bad(30))];
    let page = Page::of(&verdict(vec![model(vec![comparison(&states, 3, 74, 24_000)])]));
    page.has("mert-verify: ✗ FAILED");
    page.has("The first bad one is hidden state 1 (the output of layer 1)");
    page.has("2 of 3 hidden states fail.");
    // (30 · 320 + 400 / 2) / 24000 s; the cosine of (-1, 1, 1, 1) and ones is 1/2.
    page.has("frame 30 at 0.408 s, hidden state 1: cosine 0.500000");
    // Rings: NMSE, pooled cosine, frame cosine and difference of two states.
    assert_eq!(page.count("circle", "class", "ring"), 8);
    // One frame is beyond the limit, and only it is listed and marked.
    assert_eq!(page.count("line", "class", "worst-frame"), 1);
    assert!(!page.text.contains("frame 29 at"), "{}", page.text);
    let map = page.descriptions().into_iter().find(|text| text.starts_with("Map")).unwrap().to_string();
    assert!(map.contains("1 of 74 frames") && map.ends_with("frame 30 at 0.41 s in hidden state 1"), "{map}");
}

#[test]
fn marks_are_where_their_values_are() {
    // Wrong in five frames, of which the first is the worst.
    let mut states: Vec<(usize, Array2<f32>)> = (0..3).map(|layer| (layer, Array2::ones((1799, 4)))).collect();
    for (layer, state) in &mut states[1..] {
        for (frame, value) in [(1500, -2.0), (1504, -1.0), (1508, -0.5), (1512, 0.0), (1516, 0.5)] {
            state[[frame, 0]] = value * *layer as f32;
        }
    }
    let compared = comparison(&states, 3, 1799, 576_000);
    let record = compared.frames.clone().unwrap();
    let page = Page::of(&verdict(vec![model(vec![compared])]));
    // The passage does not begin with the clip.
    let start = record.passage_start as f64;
    assert!(start > 0.0);
    let lines = page.places("line", "worst-frame", "x1");
    let worst = [1500, 1504, 1508, 1512, 1516].map(|frame| f64::from(frame * 320 + 200));
    assert_eq!(lines.len(), worst.len());
    for (line, middle) in lines.iter().zip(worst) {
        let place = 100.0 * (middle - start) / record.passage.len() as f64;
        assert!((line - place).abs() < 0.01, "{line} {place}");
    }
    page.has(&format!("from {:.2} to {:.2} s", start / 24e3, (start + record.passage.len() as f64) / 24e3));
    // Three plots of three states: from left to right, and a larger error higher.
    let (mut x, mut y) = (page.places("circle", "mark first", "cx"), page.places("circle", "mark first", "cy"));
    assert_eq!(x.len(), 10);
    // The legend of the plot with two measures.
    x.remove(3);
    y.remove(3);
    for plot in 0..3 {
        let (x, y) = (&x[3 * plot..][..3], &y[3 * plot..][..3]);
        assert!(x[0] < x[1] && x[1] < x[2] && y[0] > y[1] && y[1] > y[2], "{x:?} {y:?}");
    }
    let limits = page.places("line", "limit first", "y1");
    assert_eq!(limits.len(), 3);
    assert!(limits.iter().zip(y.chunks(3)).all(|(limit, y)| y[0] > *limit && *limit > y[1]), "{limits:?} {y:?}");
    let description = page.descriptions().into_iter().find(|text| text.starts_with("NMSE")).unwrap();
    // ((1 + 4)² + (1 + 2)² + (1 + 1)² + 1) of state 2, and ones everywhere: 39 / (1799 · 4).
    assert_eq!(description, "NMSE by hidden state: NMSE: largest 5.4e-3, limit 1.0e-9, 2 of 3 beyond it");
}

#[test]
fn a_map_has_its_states_upwards_and_its_frames_to_the_right() {
    let states = [(0, good()), (1, bad(30)), (2, good())];
    let record = comparison(&states, 3, 74, 24_000).frames.unwrap();
    let (width, cells) = super::frames_plot::cells(&record, &[0, 1, 2], 1e-8);
    assert_eq!((width, cells.len()), (74, 3 * 74));
    let other = |row: &[u8]| (0..74).filter(|&column| row[column] != row[0]).collect::<Vec<_>>();
    let rows: Vec<_> = cells.chunks(74).map(other).collect();
    assert_eq!(rows, [vec![], vec![30], vec![]]);
    // Another limit, another side of it.
    let within = super::frames_plot::cells(&record, &[0, 1, 2], 0.75).1;
    assert!(cells[74 + 30] >= 16 && within[74 + 30] < 16);
    let first = [(0, bad(3)), (1, good()), (2, good())];
    let (_, cells) = super::frames_plot::cells(&comparison(&first, 3, 74, 24_000).frames.unwrap(), &[0, 1, 2], 1e-8);
    assert_eq!(cells.chunks(74).map(other).collect::<Vec<_>>(), [vec![], vec![], vec![3]]);
    // Columns that stand for several frames show the worst.
    let mut long = Array2::ones((2000, 4));
    long[[1001, 0]] = -1.0;
    let record = comparison(&[(0, long)], 1, 2000, 640_200).frames.unwrap();
    let (width, cells) = super::frames_plot::cells(&record, &[0], 1e-8);
    assert_eq!(width, 1000);
    assert_eq!((0..1000).filter(|&column| cells[column] != cells[0]).collect::<Vec<_>>(), [500]);
}

#[test]
fn what_could_not_be_compared_is_said() {
    let mut nan = good();
    nan.fill(f32::NAN);
    // All NaN, missing, and of another length.
    let states = [(0, nan), (2, Array2::ones((73, 4)))];
    let page = Page::of(&verdict(vec![model(vec![comparison(&states, 3, 74, 24_000)])]));
    page.has("296 values are NaN or infinite");
    page.has("the model returned no hidden state 1");
    page.has("73 frames, the reference has 74");
    page.has("frame 0 at 0.008 s, hidden state 0: cosine NaN");
    page.has("Every frame is NaN in a hidden state");
    // Two crosses for each of four measures.
    assert_eq!(page.count("text", "class", "missing"), 8);
    assert_eq!(page.count("image", "class", "map"), 1);

    // No hidden state has frames.
    let page = Page::of(&verdict(vec![model(vec![comparison(&[], 2, 74, 24_000)])]));
    page.has("No hidden state could be compared frame by frame");
    assert_eq!(page.count("image", "class", "map"), 0);
}

#[test]
fn what_is_not_there_is_not_left_out_silently() {
    let with = |change: fn(&mut Comparison)| {
        let mut comparison = comparison(&[(0, bad(3))], 1, 74, 24_000);
        change(&mut comparison);
        Page::of(&verdict(vec![model(vec![comparison])]))
    };
    with(|c| c.frames.as_mut().unwrap().passage.clear()).has("The clip is not available");
    with(|c| c.frames = None).has("The frames of this comparison are not shown");
    with(|c| (c.frames, c.output) = (None, Output::Pooled))
        .has("a mean over frames here, which has no place in the music");
    with(|c| c.frames.as_mut().unwrap().times.sampling_rate = 10)
        .has("The spectrogram of the clip cannot be drawn: rate is 10");
    with(|c| c.frames.as_mut().unwrap().times.sampling_rate = 0).has("cannot be drawn");
    with(|c| c.frames.as_mut().unwrap().passage.fill(0.0)).has("It is silent.");
    with(|c| c.layers.clear()).has("No hidden state was compared.");
    with(|c| c.tolerance.below_floor = Some("a <reason>".into())).has("A floor is lowered: a <reason>");
    Page::of(&verdict(Vec::new())).has("Nothing was compared.");
    let error = Page::of(&Verdict::not_started("verify.yaml".into(), "line 3".into()));
    error.has("COULD NOT BE CHECKED");
    error.has("verify.yaml : line 3");
}

#[test]
fn hostile_names_stay_text() {
    let hostile = "<script>alert(1)</script>\"'&amp;\u{1b}[31m\u{202e}\u{0}]]>";
    let mut comparison = comparison(&[(0, bad(3))], 1, 74, 24_000);
    comparison.reference = hostile.into();
    comparison.layers[0].failures.push(hostile.into());
    let mut found = model(vec![comparison]);
    found.model = hostile.into();
    found.notes.push(hostile.into());
    found.device = hostile.into();
    found.source_sha256 = hostile.into();
    let mut verdict = verdict(vec![found]);
    verdict.errors.push(ModelError { model: hostile.into(), error: hostile.into() });
    let html = to_html(&verdict);
    assert!(!html.contains("<script") && !html.contains(['\u{1b}', '\u{0}', '\u{202e}']));
    let page = Page::read(&html);
    let shown = "<script>alert(1)</script>\"'&amp;\\u{1b}[31m\\u{202e}\\u{0}]]>";
    assert!(page.text.matches(shown).count() >= 8, "{}", page.text);
    assert!(!page.attributes.iter().any(|(_, name, _)| name.starts_with("on")));
}

#[test]
fn nothing_is_loaded() {
    let html = to_html(&verdict(vec![model(vec![comparison(&[(0, bad(3))], 1, 74, 24_000)])]));
    let page = Page::read(&html);
    for (element, name, value) in &page.attributes {
        match name.as_str() {
            "href" => {
                assert!(value.starts_with('#') || value.starts_with("data:image/png;base64,"), "{element}: {value}")
            }
            "src" | "srcset" | "style" | "action" | "xmlns" => panic!("{element} has {name}"),
            _ => assert!(!value.contains("://"), "{element} {name}: {value}"),
        }
    }
    assert!(!STYLE.contains("url(") && !STYLE.contains("@import") && !STYLE.contains(['<', '&']));
}

#[test]
fn every_link_leads_somewhere_and_identifiers_are_unique() {
    let comparisons = || vec![comparison(&[(0, good())], 1, 74, 9_000), comparison(&[(0, bad(3))], 1, 74, 24_000)];
    let mut verdict = verdict(vec![model(comparisons()), model(comparisons())]);
    verdict.errors.push(ModelError { model: "x".into(), error: "y".into() });
    let page = Page::of(&verdict);
    let of = |attribute: &str| {
        let values = page.attributes.iter().filter(move |(_, name, _)| name == attribute);
        values.map(|(.., value)| value.clone()).collect::<Vec<_>>()
    };
    let mut ids = of("id");
    for link in of("href").iter().filter_map(|href| href.strip_prefix('#')) {
        assert!(ids.contains(&link.to_string()), "{link}");
    }
    let count = ids.len();
    ids.sort();
    ids.dedup();
    assert_eq!((ids.len(), count), (7, 7));
    page.has("FAILED, and not completely checked");
    // The comparison that failed is unfolded, the one that passed is not.
    assert_eq!(page.count("details", "open", "open"), 2);
}
