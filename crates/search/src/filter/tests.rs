//! Filters against a slow evaluation by the definition, and their messages.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::*;
use crate::testing;

/// The tracks of `text`, with track 3 as the seed.
fn tracks(catalogue: &Catalogue, text: &str) -> Vec<usize> {
    let filter = Filter::parse(catalogue, text).unwrap_or_else(|error| panic!("{error}"));
    filter.rows(catalogue, &[&Seed::Track(3)]).ones().collect()
}

fn message(catalogue: &Catalogue, text: &str) -> String {
    Filter::parse(catalogue, text).unwrap_err().to_string()
}

#[test]
fn an_unknown_value_differs_from_everything_and_is_in_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let catalogue = testing::catalogue(folder.path(), 12);
    let unknown: Vec<usize> = vec![2, 5, 8, 11];
    assert_eq!(tracks(&catalogue, "bpm is unknown"), unknown);
    assert_eq!(tracks(&catalogue, "bpm is not known"), unknown);
    assert_eq!(tracks(&catalogue, "bpm != 60"), (1..12).collect::<Vec<_>>());
    assert_eq!(tracks(&catalogue, "not bpm = 60"), (1..12).collect::<Vec<_>>());
    for none in ["bpm = 62", "bpm 62..62", "bpm in (62, 65)", "bpm < 0 or bpm >= 62 and bpm <= 62"] {
        assert!(tracks(&catalogue, none).is_empty(), "{none}");
    }
    assert_eq!(tracks(&catalogue, "not bpm 60..100"), unknown);
    assert_eq!(tracks(&catalogue, "bpm 60..64"), [0, 1, 3, 4]);
    assert_eq!(tracks(&catalogue, "bpm = 60..64"), [0, 1, 3, 4]);
    assert_eq!(tracks(&catalogue, "bpm in ..61 or bpm 70.."), [0, 1, 10]);
    assert_eq!(tracks(&catalogue, "artist is unknown"), [6]);
    assert_eq!(tracks(&catalogue, "artist != \"ARTIST 1\" and duration < 30.65"), [0, 2, 3, 4, 5, 6]);
    assert_eq!(tracks(&catalogue, "artist ~ ' 4'"), [4, 9]);
    assert_eq!(tracks(&catalogue, "album not in ('album 0', \"album 1\") and bpm is known"), [3, 4, 6, 7, 9]);
}

#[test]
fn values_of_the_seed_are_those_of_any_seed() {
    let folder = tempfile::tempdir().unwrap();
    let catalogue = testing::catalogue(folder.path(), 14);
    assert_eq!(tracks(&catalogue, "artist = seed.artist"), [3, 8]);
    assert_eq!(tracks(&catalogue, "artist != seed.artist and bpm >= seed.bpm"), [4, 6, 7, 9, 10, 12, 13]);
    let filter = Filter::parse(&catalogue, "artist = seed.artist").unwrap();
    let rows = filter.rows(&catalogue, &[&Seed::Track(3), &Seed::Track(4)]);
    assert_eq!(rows.ones().collect::<Vec<_>>(), [3, 4, 8, 9]);
    // Track 6 has no artist: nothing equals it.
    assert_eq!(filter.rows(&catalogue, &[&Seed::Track(6)]).count_ones(..), 0);
    assert_eq!(filter.unknown_of_seeds(&catalogue, &[&Seed::Track(6)]), ["artist"]);
    let differs = Filter::parse(&catalogue, "artist != seed.artist").unwrap();
    assert_eq!(differs.rows(&catalogue, &[&Seed::Track(6)]).count_ones(..), 14);
}

#[test]
fn a_folder_is_a_prefix_of_whole_names() {
    let folder = tempfile::tempdir().unwrap();
    let catalogue = testing::catalogue(folder.path(), 12);
    assert_eq!(tracks(&catalogue, "path = music/").len(), 12);
    assert!(tracks(&catalogue, "path = music/1").is_empty());
    assert_eq!(tracks(&catalogue, "path = music/1.flac"), [1]);
    assert_eq!(tracks(&catalogue, "file = music/1.flac"), [1]);
    assert_eq!(tracks(&catalogue, "file ~ /1"), [1, 10, 11]);
}

#[test]
fn messages_mark_the_place_and_name_the_nearest_column() {
    let folder = tempfile::tempdir().unwrap();
    let catalogue = testing::catalogue(folder.path(), 3);
    let text = "duration > 10 and bmp 90..110";
    let expected = format!(
        "invalid filter: the catalogue has no column `bmp`; the nearest is `bpm`\n  {text}\n  {}^^^",
        " ".repeat("duration > 10 and ".len())
    );
    assert_eq!(message(&catalogue, text), expected);
    for (text, reason, mark) in [
        ("bpm", "expected =, !=, <, <=, >, >=, ~, `in`, `is` or a range such as 90..110, found the end", "   ^"),
        ("bpm 110..90", "the range from 110 to 90 is empty", "    ^^^^^^^"),
        ("bpm ..", "expected a number before or after `..`", "    ^^"),
        ("bpm = fast", "`bpm` holds numbers, and `fast` is not one", "      ^^^^"),
        ("artist < a", "`artist` holds texts", "         ^"),
        ("artist a..b", "`artist` holds texts, and a range is of numbers", "       ^"),
        ("(bpm = 1", "expected `)`, found the end", "        ^"),
        ("bpm = 1 bpm = 2", "expected `and`, `or` or the end, found `bpm`", "        ^^^"),
        ("artist = 'a", "expected a closing '", "         ^^"),
        ("artist = seed.bpm", "hold different kinds of values", "         ^^^^^^^^"),
        ("bpm in (1 2)", "expected `,` or `)`, found `2`", "          ^"),
        ("bpm ! 3", "found `!`", ""),
        ("", "expected a column, found the end", "^"),
        ("bpm = nan", "is not one", ""),
    ] {
        let found = message(&catalogue, text);
        if text == "bpm ! 3" {
            assert!(found.contains("unexpected `!`"), "{found}");
            continue;
        }
        assert!(found.contains(reason), "{text}: {found}");
        if !mark.is_empty() {
            assert_eq!(found.lines().last().unwrap(), format!("  {mark}"), "{text}: {found}");
        }
    }
    let deep = format!("{}bpm = 1{}", "(".repeat(5000), ")".repeat(5000));
    assert!(message(&catalogue, &deep).contains("more than 100 levels"));
    let long = vec!["bpm = 1"; 5000].join(" or ");
    Filter::parse(&catalogue, &long).unwrap().rows(&catalogue, &[]);
}

/// Whether `expression` is true of a track, by the definition.
fn is_true(expression: &Expression, catalogue: &Catalogue, track: usize) -> bool {
    let numbers = |subject: &Subject, test: &dyn Fn(f64) -> bool| match subject {
        Subject::Duration => test(catalogue.track(track).duration),
        subject => catalogue.column(subject.name()).unwrap().number(track).is_some_and(test),
    };
    let texts = |subject: &Subject| -> Vec<String> {
        let column = catalogue.column(subject.name()).unwrap();
        column.texts(track).map(str::to_lowercase).collect()
    };
    let equals = |subject: &Subject, operand: &Operand| match operand {
        Operand::Number(value) => numbers(subject, &|number| number == *value),
        Operand::Text(value) => texts(subject).contains(&value.to_lowercase()),
        Operand::Seed(_) => unreachable!(),
    };
    match expression {
        Expression::Or(a, b) => is_true(a, catalogue, track) || is_true(b, catalogue, track),
        Expression::And(a, b) => is_true(a, catalogue, track) && is_true(b, catalogue, track),
        Expression::Not(a) => !is_true(a, catalogue, track),
        Expression::Known(subject) => catalogue.column(subject.name()).unwrap().is_known(track),
        Expression::Range(subject, from, to) => {
            let (from, to) = (from.unwrap_or(f64::NEG_INFINITY), to.unwrap_or(f64::INFINITY));
            numbers(subject, &|number| number >= from && number <= to)
        }
        Expression::In(subject, operands) => operands.iter().any(|operand| equals(subject, operand)),
        Expression::Compare(subject, comparison, operand) => match (comparison, operand) {
            (Comparison::Equal, operand) => equals(subject, operand),
            (Comparison::NotEqual, operand) => !equals(subject, operand),
            (Comparison::Contains, Operand::Text(part)) => {
                texts(subject).iter().any(|text| text.contains(&part.to_lowercase()))
            }
            (Comparison::Less, Operand::Number(value)) => numbers(subject, &|number| number < *value),
            (Comparison::LessOrEqual, Operand::Number(value)) => numbers(subject, &|number| number <= *value),
            (Comparison::Greater, Operand::Number(value)) => numbers(subject, &|number| number > *value),
            (Comparison::GreaterOrEqual, Operand::Number(value)) => numbers(subject, &|number| number >= *value),
            other => unreachable!("{other:?}"),
        },
    }
}

/// A random filter as text, `depth` levels deep.
fn random_text(random: &mut ChaCha8Rng, depth: usize) -> String {
    if depth > 0 && random.random_bool(0.7) {
        let (a, b) = (random_text(random, depth - 1), random_text(random, depth - 1));
        return match random.random_range(0..4) {
            0 => format!("{a} AND {b}"),
            1 => format!("{a} or {b}"),
            2 => format!("not ({a})"),
            _ => format!("({a} or {b}) and not {b}"),
        };
    }
    let column = ["bpm", "duration"][random.random_range(0..2)];
    let text = ["artist", "album", "genre"][random.random_range(0..3)];
    let sign = ["=", "!=", "<", "<=", ">", ">="][random.random_range(0..6)];
    let number = [30.5, 31.0, 60.0, 65.0, 71.0, 80.0][random.random_range(0..6)];
    let value = ["rock", "Jazz", "'artist 1'", "\"ALBUM 3\"", "none"][random.random_range(0..5)];
    match random.random_range(0..9) {
        0 => format!("{column} {sign} {number}"),
        1 => format!("{column} {number}..{}", number + 8.0),
        2 => format!("{column} ..{number}"),
        3 => format!("{column} in {number}.."),
        4 => format!("{column} not in ({number}, 66, 31)"),
        5 => format!("{text} {} {value}", ["=", "!=", "~"][random.random_range(0..3)]),
        6 => format!("{text} in ({value}, rock, \"artist 2\")"),
        7 => format!("{} is unknown", [text, "bpm"][random.random_range(0..2)]),
        _ => format!("{text} is not unknown"),
    }
}

#[test]
fn random_filters_keep_the_tracks_that_the_definition_keeps() {
    let folder = tempfile::tempdir().unwrap();
    let catalogue = testing::catalogue(folder.path(), 40);
    let mut random = ChaCha8Rng::seed_from_u64(3);
    let mut sizes = std::collections::BTreeSet::new();
    for _ in 0..2000 {
        let text = random_text(&mut random, 3);
        let filter = Filter::parse(&catalogue, &text).unwrap_or_else(|error| panic!("{error}"));
        let rows: Vec<usize> = filter.rows(&catalogue, &[]).ones().collect();
        let expected: Vec<usize> = (0..40).filter(|&track| is_true(filter.expression(), &catalogue, track)).collect();
        assert_eq!(rows, expected, "{text}");
        sizes.insert(rows.len());
    }
    // The filters are not all of one kind.
    assert!(sizes.len() > 20, "{sizes:?}");
}

#[test]
fn random_texts_are_refused_without_a_panic() {
    let folder = tempfile::tempdir().unwrap();
    let catalogue = testing::catalogue(folder.path(), 3);
    let mut random = ChaCha8Rng::seed_from_u64(4);
    let pieces = [
        "bpm", " ", "(", ")", "..", "=", "!", "<", "'", "\"", "é", "seed.", "in", "not", "is", "9", ",", "\\", "\0",
        "~",
    ];
    for _ in 0..20_000 {
        let text: String =
            (0..random.random_range(0..12)).map(|_| pieces[random.random_range(0..pieces.len())]).collect();
        if let Ok(filter) = Filter::parse(&catalogue, &text) {
            filter.rows(&catalogue, &[&Seed::Track(0)]);
        }
    }
}
