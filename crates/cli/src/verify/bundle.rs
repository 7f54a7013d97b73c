//! The gate of MusicGen bundles: `mert-verify BUNDLE --reference FILE.npz`.

use std::path::{Path, PathBuf};

use anyhow::ensure;
use clap::Args;
use mert_arch::LayerSelection;
use mert_cli::hub::Messages;
use mert_cli::terminal::{Exit, print};
use mert_fs::replace_file;
use mert_verify::musicgen::{BundleCheck, BundlePart, BundleVerdict, junit, markdown, text};
use std::io::Write;

use crate::hub_inputs;
use crate::options::ReportArgs;

/// The options of MusicGen bundles.
#[derive(Debug, Args)]
pub(crate) struct BundleArgs {
    /// Another bundle of the same MusicGen model, such as the one in f16: the KL divergence of the logits from its logits is
    /// measured, and every code and every float is compared with its weights
    #[arg(long, value_name = "BUNDLE", requires = "model")]
    pub(crate) against: Option<PathBuf>,
    /// The largest mean KL divergence of a MusicGen bundle's logits in nats [default: by the number of bits]
    #[arg(long, value_name = "NATS", requires = "model", value_parser = nats)]
    pub(crate) max_kl: Option<f64>,
    /// Parts that a MusicGen bundle may lack, whatever the reference has for them: t5, encodec
    #[arg(long, value_name = "PART", requires = "model", value_delimiter = ',')]
    pub(crate) allow_missing: Vec<BundlePart>,
}

impl BundleArgs {
    /// The first option that was given.
    pub(crate) fn given(&self) -> Option<&'static str> {
        let given = [
            (self.against.is_some(), "--against"),
            (self.max_kl.is_some(), "--max-kl"),
            (!self.allow_missing.is_empty(), "--allow-missing"),
        ];
        given.into_iter().find_map(|(is_given, option)| is_given.then_some(option))
    }
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
    let messages = Messages::of("mert-verify", quiet);
    let references =
        references.iter().map(|path| hub_inputs::file(path, messages)).collect::<anyhow::Result<Vec<PathBuf>>>()?;
    let check = BundleCheck {
        bundle: bundle.to_path_buf(),
        references: references.clone(),
        against: args.against.clone(),
        layers: layers.clone(),
        max_kl: args.max_kl,
        allow_missing: args.allow_missing.clone(),
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
