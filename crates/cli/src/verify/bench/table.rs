//! The result of a benchmark as a table for the terminal.

use comfy_table::{CellAlignment, Table, presets};
use mert_runtime::{DeviceKind, instruction_set};
use mert_verify::{ArithmeticVerdict, ModelEncoding};

use super::args::BenchArgs;
use super::measure::{MemoryScope, PeakMemory, Row};

/// Renders the rows as a table, with the settings that all rows share above and notes on the columns below.
pub(super) fn describe(
    args: &BenchArgs,
    weights: &ModelEncoding,
    (arithmetic, int8): (Option<&ArithmeticVerdict>, Option<&str>),
    rows: &[Row],
) -> String {
    let [first, ..] = rows else { return String::new() };
    let columns: Vec<(&str, Column)> = columns(args, rows);
    let mut table = Table::new();
    table.load_style(presets::ASCII_MARKDOWN).set_header(columns.iter().map(|(name, _)| *name));
    for row in rows {
        table.add_row(columns.iter().map(|(_, cell)| cell(row)));
    }
    for column in table.column_iter_mut().skip(usize::from(args.against.is_some())) {
        column.set_cell_alignment(CellAlignment::Right);
    }

    let batch = if first.batch > 1 { format!("{} windows in a run, ", first.batch) } else { String::new() };
    let mut text = format!(
        "{}, hidden states {}, {weights} weights, {} on {}, {batch}{} {} after one that is not counted\n{table}\n",
        first.engine,
        args.layers,
        args.compute.dtype(),
        args.compute.device,
        args.runs,
        if args.runs == 1 { "run" } else { "runs" },
    );
    text +=
        "GFLOP/s counts matrix products; quadratic is the share of them that grows with the square of the length.\n";
    if args.compute.device == DeviceKind::Cpu && args.against.is_none() {
        text += &format!("Instructions: {}.\n", instruction_set());
    }
    if let Some(note) = int8 {
        text += &format!("{note}.\n");
    }
    if let Some(verdict) = arithmetic {
        text += &format!(
            "Beside f32 on the clips of these rows, the worst of all hidden states: NMSE {:.1e}, pooled cosine {:.5}, frame cosine {:.4}.\n",
            verdict.nmse(),
            verdict.pooled_cosine(),
            verdict.frame_cosine()
        );
    }
    if args.peak && rows.iter().all(|row| row.peak.is_none()) {
        text += "The peak of these instructions is not measured.\n";
    }
    if let Some(peak) = rows.iter().find_map(|row| row.peak) {
        text += &format!("The peak is what {} reaches on the same threads.\n", peak.instructions);
    }
    if args.against.is_some() {
        text += "Peak memory was not measured: the engines share a process.\n";
    } else if rows.iter().any(|row| row.peak_memory.is_some_and(|peak| peak.scope == MemoryScope::Process)) {
        text += "Peak memory is since the start of the process: this system cannot reset it for each row.\n";
    }
    text
}

type Column = fn(&Row) -> String;

fn columns(args: &BenchArgs, rows: &[Row]) -> Vec<(&'static str, Column)> {
    let mut columns: Vec<(&str, Column)> = Vec::new();
    if args.against.is_some() {
        columns.push(("engine", |row| row.engine.clone()));
    }
    columns.push(("audio", |row| format!("{} s", row.audio_seconds)));
    columns.push(("frames", |row| row.frames.to_string()));
    columns.push(("threads", |row| row.threads.to_string()));
    columns.push(("median", |row| time(row.times.median)));
    columns.push(("from", |row| time(row.times.min)));
    columns.push(("to", |row| time(row.times.max)));
    columns.push(("a second of audio", |row| time(1.0 / row.real_time_factor)));
    if args.batch > 1 {
        columns.push(("windows/s", |row| format!("{:.2}", row.windows_per_second)));
    }
    columns.push(("quadratic", |row| format!("{:.0}%", 100.0 * row.attention_share)));
    columns.push(("GFLOP/s", |row| format!("{:.1}", row.gflops)));
    if rows.iter().any(|row| row.peak.is_some()) {
        columns.push(("peak", |row| row.peak.map_or("not measured".into(), |peak| format!("{:.1}", peak.gflops))));
        columns.push(("of peak", |row| match row.share_of_peak {
            Some(share) => format!("{:.0}%", 100.0 * share),
            None => "not measured".into(),
        }));
    }
    columns.push(("times real time", |row| format!("{:.1}", row.real_time_factor)));
    if args.against.is_some() {
        columns.push(("times ours", |row| row.compared.map_or("1".into(), |c| format!("{:.2}", c.ratio))));
        columns.push(("NMSE", |row| row.compared.map_or("–".into(), |c| format!("{:.1e}", c.nmse))));
    } else {
        columns.push(("peak memory", |row| memory(row.peak_memory)));
    }
    columns
}

fn time(seconds: f64) -> String {
    if seconds < 0.1 { format!("{:.2} ms", seconds * 1e3) } else { format!("{seconds:.3} s") }
}

fn memory(peak: Option<PeakMemory>) -> String {
    peak.map_or("not measured".into(), |peak| format!("{:.0} MB", peak.bytes as f64 / 1e6))
}
