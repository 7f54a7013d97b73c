//! `mert-tokens plot`: each picture of a session on generated music is an SVG with what it shows, and the same twice.

use std::fs;

use crate::studio::{Studio, done, refused};

/// The name of a picture, its inputs and options, and words in it.
type Picture<'a> = (&'a str, &'a [&'a dyn AsRef<std::ffi::OsStr>], &'a [&'a str]);

#[test]
fn all_pictures_of_a_session() {
    let studio = Studio::new();
    let vocabulary = studio.vocabulary();
    let oracle = studio.oracle(&vocabulary);
    let (events, sound, tokens) = (studio.at("events.jsonl"), studio.music.join("1.wav"), studio.at("tokens.jsonl"));
    done(&[&"encode", &studio.model, &vocabulary, &sound, &"-o", &tokens, &"--quiet"]);
    let pictures: [Picture<'_>; 6] = [
        ("tokens", &[&tokens, &"--audio", &sound], &["frequency", "time"]),
        ("tokens", &[&events, &"--recording", &"2"], &["frequency", "time"]),
        ("oracle", &[&oracle], &["suffix"]),
        ("entropy", &[&oracle], &["bits"]),
        ("threshold", &[&events, &"--search", &"0:1:0.1"], &["θ", "bits"]),
        ("ranks", &[&tokens], &["tokens occur"]),
    ];
    for (index, (picture, inputs, words)) in pictures.into_iter().enumerate() {
        let output = studio.at(&format!("{index}.svg"));
        let mut arguments: Vec<&dyn AsRef<std::ffi::OsStr>> = vec![&"plot", &picture];
        arguments.extend(inputs);
        arguments.extend([&"-o" as &dyn AsRef<std::ffi::OsStr>, &output]);
        done(&arguments);
        let svg = fs::read_to_string(&output).unwrap();
        assert!(svg.starts_with("<svg") && svg.trim_end().ends_with("</svg>"), "{picture}");
        for word in words {
            assert!(svg.contains(word), "{word} is not in the picture of {picture}");
        }
        assert!(!svg.contains("NaN") && !svg.contains("inf\""), "{picture}");
        arguments.push(&"--force");
        done(&arguments);
        assert_eq!(fs::read_to_string(&output).unwrap(), svg, "{picture} differs the second time");
        arguments.pop();
        refused(&arguments, &["exists"]);
    }
    // The sound of another recording than that of the events.
    refused(
        &[&"plot", &"tokens", &events, &"--audio", &sound, &"--recording", &"1", &"-o", &studio.at("x.svg")],
        &["is not the recording of these events"],
    );
}
