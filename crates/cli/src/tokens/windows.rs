//! `mert-tokens windows`: how far tokens depend on the window, by which a vocabulary's window and kept part are chosen.

use std::io::IsTerminal;
use std::path::PathBuf;
use std::sync::atomic::Ordering;

use anyhow::{anyhow, bail};
use clap::Args;
use comfy_table::{CellAlignment, Table, presets};
use mert_audio::Seconds;
use mert_cli::embedding::interrupt::{STOP, while_embedding};
use mert_cli::embedding::{file_line, report_left_out};
use mert_cli::terminal::{Exit, print, progress_bar, say};
use mert_tokens::{WindowResult, WindowStudy};
use serde_json::json;

use crate::encoder::TokenModel;
use crate::failure::failure;
use crate::inputs::recordings;
use crate::run_args::{FileArgs, ModelArgs, ReadArgs};

/// Shows how far the token of a frame depends on the window in which it is computed.
///
/// The same moments of music are computed in windows of several lengths, at their end and in their middle, and in windows
/// that start half a hop later. The tokens are those of a k-means on all of these frames together. Choose the shortest
/// window and the part whose tokens hardly depend on where a window starts, and train with them.
#[derive(Debug, Args)]
pub(crate) struct WindowsArgs {
    /// A file that mert-convert wrote, a folder with it, or a model of the hub (owner/name)
    model: PathBuf,
    /// Files and folders
    #[arg(required_unless_present = "list")]
    inputs: Vec<PathBuf>,
    /// The lengths of windows, ascending; the middle of the longest is the reference
    #[arg(long, value_name = "TIMES", default_value = "1s,2s,5s,10s,30s", value_delimiter = ',')]
    windows: Vec<Seconds>,
    /// The time from a window to the next
    #[arg(long, value_name = "TIME", default_value = "1s")]
    hop: Seconds,
    /// The hidden state: 0 enters the first layer, -1 is the last
    #[arg(long, value_name = "STATE", default_value = "-1")]
    layer: i64,
    /// The moments of each file, each as long as a hop
    #[arg(long, value_name = "N", default_value = "4", value_parser = clap::value_parser!(u16).range(1..))]
    moments: u16,
    /// The number of tokens
    #[arg(long, value_name = "K", default_value = "256", value_parser = clap::value_parser!(u32).range(2..=65536))]
    k: u32,
    /// The seed of the moments and of the tokens
    #[arg(long, value_name = "N", default_value = "0")]
    seed: u64,
    /// Print the figures as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    options: ModelArgs,
    #[command(flatten)]
    read: ReadArgs,
    #[command(flatten)]
    files: FileArgs,
}

/// Runs the subcommand.
pub(crate) fn run(args: &WindowsArgs) -> anyhow::Result<Exit> {
    let quiet = args.options.quiet;
    let inputs = recordings(&args.inputs, args.files.list(), quiet)?;
    let options = args.read.options()?;
    let model = TokenModel::open(&args.model, &args.options)?;
    let grid = model.grid();
    let (hop, layer) = (grid.whole_frames(args.hop).0, model.hidden_state(args.layer)?);
    let mut windows: Vec<usize> = args.windows.iter().map(|&window| grid.whole_frames(window).0).collect();
    windows.sort_unstable();
    windows.dedup();
    if let Some(short) = windows.first().filter(|&&window| window < hop) {
        bail!("a window of {short} frames cannot keep a hop of {hop}: give a longer window or a shorter --hop");
    }
    let (moments, k) = (usize::from(args.moments), args.k as usize);
    let study = WindowStudy { windows, hop, moments, k, seed: args.seed };
    let paths: Vec<PathBuf> = inputs.iter().map(|input| input.path.clone()).collect();
    let hidden = quiet || !std::io::stderr().is_terminal();
    let bar = progress_bar(Some(inputs.len() as u64), "{bar:30} {pos}/{len} files, {eta} left", hidden);
    bar.enable_steady_tick(std::time::Duration::from_millis(500));
    let (mut failures, mut count) = (Vec::new(), 0);
    let mut on_file = |index: usize, result| {
        bar.inc(1);
        match result {
            Ok(moments) => count += moments,
            Err(error) => {
                let failure = failure(&inputs[index], error);
                bar.suspend(|| say(&file_line(&inputs[index], &failure.message)));
                failures.push(failure);
            }
        }
        !STOP.load(Ordering::Relaxed)
    };
    let longest = study.windows.last().copied().unwrap_or(0);
    let results = while_embedding(|| study.run(&paths, model.model(), layer, options, &mut on_file));
    bar.finish_and_clear();
    args.files.write_report(&failures)?;
    if let Err(mert_tokens::TokensError::TooFewFrames { .. }) = &results
        && count == 0
    {
        bail!(
            "no file is as long as the longest window and half of it again, {:.0} s: give longer files, or shorter --windows",
            1.5 * longest as f64 / grid.frame_rate()
        );
    }
    let Some(results) = results? else { return Ok(Exit::Interrupted) };
    if results.is_empty() {
        return Err(anyhow!("no window"));
    }
    let seconds = |frames: usize| frames as f64 / grid.frame_rate();
    if args.json {
        let rows: Vec<_> = results.iter().map(|result| as_json(result, &seconds)).collect();
        let report = json!({ "hidden_state": layer, "k": k, "moments": count, "hop": seconds(hop), "windows": rows });
        print(&format!("{report:#}\n"))?;
    } else {
        print(&table(
            &results,
            &seconds,
            &format!("hidden state {layer}, {k} tokens, {count} moments of {:.2} s", seconds(hop)),
        ))?;
    }
    Ok(report_left_out(&failures, inputs.len()))
}

fn as_json(result: &WindowResult, seconds: &dyn Fn(usize) -> f64) -> serde_json::Value {
    json!({
        "window": seconds(result.framing.window),
        "after_kept": seconds(result.framing.lookahead),
        "equal_to_reference": result.equal_to_reference,
        "equal_when_shifted": result.equal_when_shifted,
        "cosine_to_reference": result.cosine_to_reference,
        "cosine_when_shifted": result.cosine_when_shifted,
    })
}

fn table(results: &[WindowResult], seconds: &dyn Fn(usize) -> f64, title: &str) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header([
        "window",
        "sound after the kept part",
        "tokens as in the reference",
        "tokens when shifted",
        "cosine to the reference",
        "cosine when shifted",
    ]);
    for result in results {
        table.add_row([
            format!("{:.0} s", seconds(result.framing.window)),
            format!("{:.1} s", seconds(result.framing.lookahead)),
            format!("{:.1}%", result.equal_to_reference * 100.0),
            format!("{:.1}%", result.equal_when_shifted * 100.0),
            format!("{:.4}", result.cosine_to_reference),
            format!("{:.4}", result.cosine_when_shifted),
        ]);
    }
    table.column_iter_mut().for_each(|column| column.set_cell_alignment(CellAlignment::Right));
    format!("{title}; the reference is the last row\n{table}\n")
}
