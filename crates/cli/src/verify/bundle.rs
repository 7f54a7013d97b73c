//! The gate of MusicGen bundles: `mert-verify BUNDLE --reference FILE.npz`.

use std::path::{Path, PathBuf};

use anyhow::ensure;
use clap::Args;
use mert_arch::LayerSelection;
use mert_cli::terminal::{Exit, print};
use mert_fs::replace_file;
use mert_verify::musicgen::{BundleCheck, BundleVerdict, junit, markdown, text};
use std::io::Write;

use crate::options::ReportArgs;

/// The options of MusicGen bundles.
#[derive(Debug, Args)]
pub(crate) struct BundleArgs {
    /// Another bundle of the same MusicGen model, such as the one in f16, from whose logits the KL divergence is measured
    #[arg(long, value_name = "BUNDLE", requires = "model")]
    pub(crate) against: Option<PathBuf>,
    /// The largest mean KL divergence of a MusicGen bundle's logits in nats [default: by the number of bits]
    #[arg(long, value_name = "NATS", requires = "model", value_parser = nats)]
    pub(crate) max_kl: Option<f64>,
}

fn nats(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(number) if (0.0..=100.0).contains(&number) => Ok(number),
        _ => Err("expected a number from 0 to 100".into()),
    }
}

/// Checks a bundle and writes the reports.
pub(crate) fn run(
    bundle: &Path,
    references: &[PathBuf],
    layers: &LayerSelection,
    args: &BundleArgs,
    reports: &ReportArgs,
    quiet: bool,
) -> anyhow::Result<Exit> {
    let check = BundleCheck {
        bundle: bundle.to_path_buf(),
        references: references.to_vec(),
        against: args.against.clone(),
        layers: layers.clone(),
        max_kl: args.max_kl,
    };
    let outputs = [&reports.json, &reports.junit, &reports.markdown];
    for output in outputs.iter().copied().flatten() {
        let is_input = references.iter().any(|reference| mert_fs::is_same_file(reference, output));
        ensure!(!is_input, "{} is a reference; give another file for the report", output.display());
    }
    let verdict = check.run()?;
    if !quiet {
        print(&text(&verdict))?;
    }
    write_reports(&verdict, reports)?;
    Ok(if verdict.passed() { Exit::Success } else { Exit::Failure })
}

fn write_reports(verdict: &BundleVerdict, reports: &ReportArgs) -> anyhow::Result<()> {
    let write = |path: &Option<PathBuf>, text: String| match path {
        Some(path) => replace_file(path, |file| file.write_all(text.as_bytes())),
        None => Ok(()),
    };
    let json = serde_json::json!({ "passed": verdict.passed(), "bundle": verdict });
    write(&reports.json, format!("{json:#}\n"))?;
    write(&reports.markdown, markdown(verdict))?;
    write(&reports.junit, junit(verdict)?)?;
    Ok(())
}
