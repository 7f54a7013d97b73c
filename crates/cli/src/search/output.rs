//! Answers and reasons as tables and as JSON.

use comfy_table::{CellAlignment, Table, presets};
use mert_arch::printable_line;
use mert_search::explain::{Contrast, FactValue, Reasons};
use mert_search::query::{Answer, Hit, Path, PathStep};
use mert_search::{Seed, Space, count, is_or_are};
use serde_json::{Value, json};

use crate::cells::{self, number, percent, signed, times};

/// An answer as JSON: what [`Answer`] has, with the seeds, the geometry, and in each hit its reasons if there are any.
pub(crate) fn answer_json(
    space: &Space<'_>,
    seeds: &[(Seed, f64)],
    answer: &Answer,
    reasons: &[Reasons],
) -> anyhow::Result<String> {
    let mut value = serde_json::to_value(answer)?;
    if let Some(hits) = value["hits"].as_array_mut() {
        for (hit, reasons) in hits.iter_mut().zip(reasons) {
            hit["reasons"] = serde_json::to_value(reasons)?;
        }
    }
    value["seeds"] = seeds_json(space, seeds);
    value["geometry"] = geometry_json(space);
    Ok(format!("{value:#}\n"))
}

/// Reasons as JSON, with the seeds, the geometry and the contrast with another track.
pub(crate) fn reasons_json(
    space: &Space<'_>,
    seeds: &[(Seed, f64)],
    reasons: &Reasons,
    contrast: Option<&Contrast>,
) -> anyhow::Result<String> {
    let mut value = serde_json::to_value(reasons)?;
    value["query"] = seeds_json(space, seeds);
    value["geometry"] = geometry_json(space);
    value["versus"] = serde_json::to_value(contrast)?;
    Ok(format!("{value:#}\n"))
}

/// A path as JSON.
pub(crate) fn path_json(path: &Path) -> anyhow::Result<String> {
    Ok(format!("{:#}\n", serde_json::to_value(path)?))
}

fn seeds_json(space: &Space<'_>, seeds: &[(Seed, f64)]) -> Value {
    let seed = |(seed, weight): &(Seed, f64)| json!({ "seed": seed.label(space.catalogue()), "weight": weight });
    seeds.iter().map(seed).collect()
}

fn geometry_json(space: &Space<'_>) -> Value {
    let geometry = space.geometry();
    let groups = space.catalogue().groups();
    let layer = |&(group, weight): &(usize, f64)| json!({ "layer": groups[group].name, "weight": weight });
    json!({
        "layers": geometry.weights.iter().map(layer).collect::<Vec<_>>(),
        "center": space.is_centered(),
        "drop_components": geometry.drop_components,
        "csls": geometry.csls,
        "metric": geometry.metric.as_ref().and_then(|metric| metric.sha256().ok()),
    })
}

/// An answer as a table, with what has to be known below it.
pub(crate) fn answer_text(seeds: &[(Seed, f64)], answer: &Answer, reasons: &[Reasons]) -> String {
    let has_scores = answer.hits.iter().any(|hit| hit.score != hit.cosine);
    let has_passages = answer.hits.iter().any(|hit| hit.passage.is_some());
    let mut header = vec!["", "cosine", "percentile", "of query"];
    header.extend(has_scores.then_some("score"));
    header.extend(has_passages.then_some("passage"));
    let numbers = header.len();
    header.push("file");
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header(&header);
    for (index, hit) in answer.hits.iter().enumerate() {
        let mut cells = vec![(index + 1).to_string(), number(hit.cosine)];
        cells.extend([percent(hit.percentile), percent(hit.percentile_of_query)]);
        cells.extend(has_scores.then(|| number(hit.score)));
        cells.extend(has_passages.then(|| hit.passage.map(|(start, end)| times(start, end)).unwrap_or_default()));
        cells.push(named(hit));
        table.add_row(cells);
        for version in &hit.versions {
            let mut cells = vec![String::new(); numbers];
            cells[1] = number(version.cosine);
            cells.push(format!("  version ({:+.1} s): {}", version.longer, printable_line(&version.file)));
            table.add_row(cells);
        }
    }
    for column in table.column_iter_mut().take(numbers) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    let mut text = if answer.hits.is_empty() { String::new() } else { format!("{}\n\n", table.trim_fmt()) };
    text += &format!("compared {} of {}", answer.compared, count(answer.tracks, "track"));
    if answer.pairs > 0 {
        text += &format!(
            "; percentiles are among {} by different artists, in steps of {:.2} %",
            count(answer.pairs, "pair"),
            100.0 / answer.pairs as f64
        );
    }
    text.push('\n');
    text += &left_out(answer);
    for version in &answer.seed_versions {
        text += &format!(
            "a version of the seed ({:+.1} s, cosine {:.4}): {}\n",
            version.longer,
            version.cosine,
            printable_line(&version.file)
        );
    }
    for (index, reasons) in reasons.iter().enumerate() {
        text += &format!("\n{}: {}", index + 1, reasons_text(seeds, reasons, None));
    }
    text + &notes(&answer.notes)
}

/// How many were left out, in a line.
fn left_out(answer: &Answer) -> String {
    let left_out = answer.left_out;
    let counts = [
        (left_out.artist, "by artists that have the most hits already (--per-artist)"),
        (left_out.album, "from albums that have the most hits already (--per-album)"),
        (left_out.gap, "next to a hit of the same artist or album (--artist-gap, --album-gap)"),
        (left_out.variety, "for variety or the limits of artists and albums"),
        (left_out.versions, "as versions of a hit"),
    ];
    let counts: Vec<String> =
        counts.into_iter().filter(|(count, _)| *count > 0).map(|(count, reason)| format!("{count} {reason}")).collect();
    match counts.is_empty() {
        true => String::new(),
        false => format!("left out above the last hit: {}\n", counts.join(", ")),
    }
}

/// Reasons as tables.
pub(crate) fn reasons_text(seeds: &[(Seed, f64)], reasons: &Reasons, contrast: Option<&Contrast>) -> String {
    let passage = reasons.passage.map(|(start, end)| format!(", {}", times(start, end))).unwrap_or_default();
    let mut text = format!("{}{passage}\n", printable_line(&reasons.file));
    text += &format!("cosine {:.6}", reasons.cosine);
    if let Some(percentile) = reasons.percentile {
        text += &format!(", higher than that of {percentile:.2} % of random pairs (average {:.6})", reasons.average);
    }
    text += "\n\n";
    let rows = reasons.terms.iter().map(|term| {
        let numbers = [term.term, term.average].map(number);
        let [value, average] = numbers;
        vec![term.group.clone(), format!("{:.3}", term.weight), value, average, signed(term.deviation)]
    });
    let sum = vec![
        "sum".into(),
        String::new(),
        number(reasons.cosine),
        number(reasons.average),
        signed(reasons.cosine - reasons.average),
    ];
    text += &rendered(&["hidden state", "weight", "term", "average", "deviation"], rows.chain([sum]), 5);
    for term in &reasons.terms {
        for probe in &term.probes {
            let (figure, value, chance) = (probe.figure.replace('_', " "), probe.value, probe.chance);
            text +=
                &format!("{} ({} probe: {figure} {value:.2} held out, chance {chance:.2})\n", term.group, probe.tag);
        }
    }
    if reasons.terms.iter().any(|term| !term.probes.is_empty()) {
        text.push('\n');
    }
    if seeds.len() > 1 {
        let rows = reasons.seeds.iter().map(|seed| {
            vec![signed(seed.term), number(seed.cosine), format!("{:+.2}", seed.weight), printable_line(&seed.seed)]
        });
        text += &rendered(&["term", "cosine", "weight", "seed"], rows, 3);
    }
    let rows = reasons.passages.iter().map(|pair| {
        let mut cells = vec![signed(pair.share), number(pair.cosine)];
        cells.push(times(pair.seed_start, pair.seed_end));
        cells.push(times(pair.start, pair.end));
        if seeds.len() > 1 {
            cells.push(reasons.seeds.get(pair.seed).map(|seed| printable_line(&seed.seed)).unwrap_or_default());
        }
        cells
    });
    text += &rendered(&["share", "cosine", "of the seed", "of the track"], rows, 4);
    if let Some(part) = &reasons.participation {
        text += &format!(
            "{} of passages, {} with a share above zero; all shares sum to {:.6}\n",
            count(part.pairs, "pair"),
            cells::share(part.positive, 0),
            part.sum
        );
        if let (Some(seed), Some(hit)) = (part.seed_segments_for_half, part.hit_segments_for_half) {
            text += &format!(
                "half of the cosine comes from {seed} of {} of the seed, and from {hit} of {} of the track\n",
                count(part.seed_segments, "segment"),
                part.hit_segments
            );
        }
        text.push('\n');
    }
    let known = |column: &str, values: &Vec<FactValue>| match values.is_empty() {
        true => "unknown".to_string(),
        false => cells::text(&values.iter().map(|value| cells::value(column, value)).collect::<Vec<_>>().join("; ")),
    };
    let rows = reasons.facts.iter().map(|fact| {
        let column = fact.column.as_str();
        let seeds = fact.seeds.iter().map(|values| known(column, values)).collect::<Vec<_>>().join(" | ");
        vec![cells::text(column), seeds, known(column, &fact.hit)]
    });
    text += &rendered(&["known", "of the seed", "of the track"], rows, 0);
    if let Some(contrast) = contrast {
        text +=
            &format!("compared with {}: cosine {:.6}\n\n", printable_line(&contrast.versus), contrast.versus_cosine);
        let rows = contrast
            .terms
            .iter()
            .map(|term| vec![term.group.clone(), number(term.term), number(term.versus_term), signed(term.difference)]);
        let sum = vec![
            "sum".into(),
            number(contrast.cosine),
            number(contrast.versus_cosine),
            signed(contrast.cosine - contrast.versus_cosine),
        ];
        text += &rendered(&["hidden state", "term", "of the other", "difference"], rows.chain([sum]), 4);
    }
    text.trim_end().to_string() + "\n" + &notes(&reasons.notes)
}

/// A path as a table.
pub(crate) fn path_text(path: &Path) -> String {
    let row = |step: &PathStep| {
        let cosine = step.cosine.map(number).unwrap_or_default();
        let wide = if step.is_wide { "wide" } else { "" };
        let name = credited(step.artist.as_deref(), step.title.as_deref(), &step.file);
        vec![format!("{:.2}", step.position), cosine, percent(step.percentile), wide.into(), name]
    };
    let table = rendered(&["place", "cosine", "percentile", "step", "file"], path.steps.iter().map(row), 3);
    let wide = path.steps.iter().filter(|step| step.is_wide).count();
    let wide = match wide {
        0 => String::new(),
        _ => format!(
            "{} {} wide: no nearer than many random pairs by different artists\n",
            count(wide, "step"),
            is_or_are(wide)
        ),
    };
    table.trim_end().to_string() + "\n" + if wide.is_empty() { "" } else { "\n" } + &wide + &notes(&path.notes)
}

/// A table whose first `numbers` columns are aligned to the right, with an empty line below; nothing without rows.
fn rendered(header: &[&str], rows: impl Iterator<Item = Vec<String>>, numbers: usize) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header(header);
    rows.for_each(|row| {
        table.add_row(row);
    });
    if table.row_iter().next().is_none() {
        return String::new();
    }
    for column in table.column_iter_mut().take(numbers) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    format!("{}\n\n", table.trim_fmt())
}

fn notes(notes: &[String]) -> String {
    notes.iter().map(|note| format!("note: {}\n", printable_line(note))).collect()
}

fn named(hit: &Hit) -> String {
    credited(hit.artist.as_deref(), hit.title.as_deref(), &hit.file)
}

/// The file, with artist and title before it if they are known.
fn credited(artist: Option<&str>, title: Option<&str>, file: &str) -> String {
    let file = printable_line(file);
    match (artist, title) {
        (Some(artist), Some(title)) => format!("{} - {}  {file}", cells::text(artist), cells::text(title)),
        (None, Some(title)) => format!("{}  {file}", cells::text(title)),
        _ => file,
    }
}
