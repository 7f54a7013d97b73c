//! Choices of bits beside uniform bits and a recipe of mlx-lm, at equal size, on clips that no choice has seen.
//!
//! `cargo run --release -p mert-budget --example compare -- CHECKPOINT [CALIBRATION-FOLDER UNSEEN-FOLDER]`; without folders
//! of audio, all clips are generated. `RAYON_NUM_THREADS=2` limits the threads. Prints tables in Markdown.

#![allow(clippy::print_stdout)]

use std::error::Error;
use std::path::PathBuf;
use std::time::Instant;

use mert_audio::music_piece;
use mert_budget::{Audio, AudioSource, Budget, ByteSize, Chosen, Clip, Goal, Group, Progress, Study, Subject};
use mert_checkpoint::Source;
use mert_convert::{Plan, PlanOptions, QuantizeOptions};

/// The budgets of `docs/quantization.md`.
const BUDGETS: [&str; 3] = [
    "pooled>=0.999,frame>=0.99,nmse<=1e-2",
    "pooled>=0.9995,frame>=0.998,nmse<=1e-3",
    "pooled>=0.9999,frame>=0.9995,nmse<=2e-4",
];

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<PathBuf> = std::env::args_os().skip(1).map(PathBuf::from).collect();
    let checkpoint = arguments.first().ok_or("expected CHECKPOINT [CALIBRATION-FOLDER UNSEEN-FOLDER]")?;
    let source = Source::open(checkpoint)?;
    let options = PlanOptions { quantize: Some(QuantizeOptions::default()), ..PlanOptions::default() };
    let subject = Subject::new(&source, &options)?;
    let folder = |i: usize| arguments.get(i).map_or(AudioSource::BuiltIn, |folder| AudioSource::Folder(folder.clone()));
    let audio = Audio::load(&folder(1), subject.plan())?;
    let unseen = unseen(&folder(2), subject.plan())?;

    let start = Instant::now();
    let study = Study::new(&subject, &audio, &|progress| {
        if let Progress::Measurements(count) = progress {
            println!("{count} encodings of {} layers to measure", subject.groups().len());
        }
    })?;
    println!("measured in {:.0} s\n", start.elapsed().as_secs_f64());

    let mut rows: Vec<(String, Vec<usize>)> = Vec::new();
    for budget in BUDGETS {
        let budget: Budget = budget.parse()?;
        match study.search(Goal::Error(budget), &|_| {}) {
            Ok(Chosen { choice, report, .. }) => {
                println!(
                    "{budget}: {} bytes, {} mixes; predicted {}; calibration {}; held-out {}; bits {}",
                    report.bytes,
                    report.trials.len(),
                    report.predicted,
                    report.calibration,
                    report.held_out,
                    histogram(subject.groups(), &choice)
                );
                rows.push((format!("`{budget}`"), choice));
            }
            Err(error) => println!("{budget}: {error}"),
        }
    }
    let uniform = |bits: usize| subject.groups().iter().map(|group| option(group, bits)).collect::<Vec<_>>();
    let layers = subject.plan().config.num_hidden_layers;
    let mixed =
        |low, high| subject.groups().iter().map(|group| option(group, recipe(group, layers, low, high))).collect();
    let rivals = [4, 5, 6].map(|bits| (format!("{bits} bits"), uniform(bits)));
    let recipes = [(3, 6), (4, 6)].map(|(low, high)| (format!("`mixed_{low}_{high}`"), mixed(low, high)));
    for (name, rival) in rivals.into_iter().chain(recipes) {
        let size = ByteSize(subject.file_len(&rival)? as u64);
        let Chosen { choice, report, .. } = study.search(Goal::Size(size), &|_| {})?;
        println!("{name}: chosen {} of {} bytes, bits {}", report.bytes, size.0, histogram(subject.groups(), &choice));
        rows.extend([(name.clone(), rival), (format!("as many bytes as {name}"), choice)]);
    }
    for bits in [8, 3] {
        rows.push((format!("{bits} bits"), uniform(bits)));
    }
    rows.push(("f16".into(), subject.groups().iter().map(|group| group.candidates.len() - 1).collect()));

    let choices: Vec<_> = rows.iter().map(|(_, choice)| choice.clone()).collect();
    let (held_out, unseen_errors) = (study.measure(&audio.held_out, &choices)?, study.measure(&unseen, &choices)?);
    println!(
        "\n| bits | MB | worst pooled | worst frame | NMSE | unseen: pooled | frame | NMSE |\n|---|---|---|---|---|---|---|---|"
    );
    for (((name, choice), a), b) in rows.iter().zip(held_out).zip(unseen_errors) {
        let (a, b, size) = (a.worst, b.worst, subject.file_len(choice)? as f64 / 1e6);
        println!(
            "| {name} | {size:.2} | {:.6} | {:.5} | {:.2e} | {:.6} | {:.5} | {:.2e} |",
            a.pooled_cosine, a.frame_cosine, a.nmse, b.pooled_cosine, b.frame_cosine, b.nmse
        );
    }
    println!("\n{:.0} s in all", start.elapsed().as_secs_f64());
    Ok(())
}

/// Clips that are neither calibrated on nor held out.
fn unseen(source: &AudioSource, plan: &Plan) -> Result<Vec<Clip>, Box<dyn Error>> {
    if *source != AudioSource::BuiltIn {
        let audio = Audio::load(source, plan)?;
        return Ok([audio.calibration, audio.held_out].concat());
    }
    let rate = plan.preprocessor.preprocessor.sampling_rate;
    let clip =
        |piece| Clip { name: format!("piece {piece}"), input_values: music_piece(piece, 5 * rate as usize, rate) };
    Ok((20..26).map(clip).collect())
}

/// The candidate of a group with this many bits.
fn option(group: &Group, bits: usize) -> usize {
    let has_bits = |quantization: mert_arch::Quantization| quantization.bits == bits;
    group.candidates.iter().position(|candidate| candidate.quantization.is_some_and(has_bits)).unwrap_or_default()
}

/// The bits of a layer as mlx-lm's recipes have them
/// ([`mixed_quant_predicate_builder`](https://github.com/ml-explore/mlx-lm/blob/main/mlx_lm/convert.py)): more for values and
/// for the second layer of the feed-forward, in the first and last eighth of the layers and every third between.
fn recipe(group: &Group, layers: usize, low: usize, high: usize) -> usize {
    let index =
        group.module.strip_prefix("encoder.layers.").and_then(|rest| rest.split('.').next()?.parse::<usize>().ok());
    let is_named = group.module.ends_with("v_proj") || group.module.ends_with("output_dense");
    let eighth = layers / 8;
    let more = |index: usize| index < eighth || index >= 7 * layers / 8 || (index - eighth) % 3 == 2;
    if is_named && index.is_some_and(more) { high } else { low }
}

/// The numbers of layers by their bits.
fn histogram(groups: &[Group], choice: &[usize]) -> String {
    let mut counts = std::collections::BTreeMap::new();
    for (group, &i) in groups.iter().zip(choice) {
        let bits = group.candidates[i].quantization.map_or(16, |quantization| quantization.bits);
        *counts.entry(bits).or_insert(0) += 1;
    }
    counts.iter().map(|(bits, count)| format!("{bits}: {count}")).collect::<Vec<_>>().join(", ")
}
