//! The pictures of an oracle: its suffix links, and its entropy.

use std::path::{Path, PathBuf};

use clap::Args;
use mert_cli::terminal::Exit;
use mert_oracle::{Material, OracleFile, entropy_over_time};
use mert_plots::{EntropyPicture, MAX_ARCS, OraclePicture, SuffixLink};
use mert_table::escape;

use super::OutputArgs;
use super::input::{base_name, spans};
use crate::oracle::open_oracle;

/// The options of `plot oracle`.
#[derive(Debug, Args)]
pub(crate) struct OracleArgs {
    /// An oracle of mert-tokens oracle
    oracle: PathBuf,
    /// The most arcs to draw, at most 5000: the longest repetitions first
    #[arg(long, value_name = "N", default_value_t = 400, value_parser = arcs)]
    arcs: usize,
    #[command(flatten)]
    output: OutputArgs,
}

/// The options of `plot entropy`.
#[derive(Debug, Args)]
pub(crate) struct EntropyArgs {
    /// An oracle of mert-tokens oracle
    oracle: PathBuf,
    /// The length of the window in events
    #[arg(long, value_name = "EVENTS", default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..))]
    window: u32,
    /// The number of tokens of the vocabulary, for its maximum [default: the different ones in the oracle]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    k: Option<u32>,
    #[command(flatten)]
    output: OutputArgs,
}

fn arcs(text: &str) -> Result<usize, String> {
    match text.parse::<usize>() {
        Ok(number) if number <= MAX_ARCS => Ok(number),
        _ => Err(format!("expected a whole number from 0 to {MAX_ARCS}")),
    }
}

/// Draws the suffix links.
pub(crate) fn run(args: &OracleArgs) -> anyhow::Result<Exit> {
    args.output.check(&[&args.oracle])?;
    let oracle = open_oracle(&args.oracle)?;
    let links = oracle.links();
    let link = |state: u32| {
        let target = links.sfx(state).and_then(|target| target.checked_sub(1));
        SuffixLink { event: state - 1, target, length: if target.is_some() { links.lrs(state) } else { 0 } }
    };
    let cluster = |state: u32| links.sym(state).unwrap_or_default();
    let is_vectors = matches!(oracle.material(), Material::Vectors(_));
    let token = |state: u32| oracle.material().token(state as usize - 1).unwrap_or_else(|| cluster(state));
    let picture = OraclePicture {
        title: args.output.title(|| format!("Suffix links of {}", name_of(&args.oracle))),
        tokens: (1..links.states()).map(token).collect(),
        token_name: if is_vectors { "cluster" } else { "token" },
        links: (1..links.states()).map(link).collect(),
        sources: spans(&oracle),
        max_arcs: args.arcs,
    };
    args.output.write(&picture.svg()?)
}

/// Draws the entropy.
pub(crate) fn run_entropy(args: &EntropyArgs) -> anyhow::Result<Exit> {
    args.output.check(&[&args.oracle])?;
    let oracle = open_oracle(&args.oracle)?;
    let clusters = oracle.links().cluster_count();
    if let Some(k) = args.k {
        check_k(&oracle, k, clusters)?;
    }
    let picture = EntropyPicture {
        title: args.output.title(|| format!("Entropy of {} over time", name_of(&args.oracle))),
        values: entropy_over_time(oracle.links(), args.window),
        window: args.window,
        tokens: args.k.unwrap_or(clusters),
        token_name: match (args.k, oracle.material()) {
            (Some(_), _) => "tokens of the vocabulary",
            (None, Material::Symbols(_)) => "tokens of the oracle",
            (None, _) => "clusters of the oracle",
        },
        sources: spans(&oracle),
    };
    args.output.write(&picture.svg()?)
}

/// A vocabulary has more tokens than the largest one that occurs.
fn check_k(oracle: &OracleFile, k: u32, clusters: u32) -> anyhow::Result<()> {
    let tokens = (0..oracle.material().len()).filter_map(|event| oracle.material().token(event));
    match tokens.max() {
        Some(token) => {
            anyhow::ensure!(token < k, "--k is {k}, and the oracle has a token {token}: give the vocabulary's k")
        }
        None => anyhow::ensure!(clusters <= k, "--k is {k}, and the oracle has {clusters} clusters"),
    }
    Ok(())
}

/// The name of a file for a title.
pub(super) fn name_of(path: &Path) -> String {
    base_name(&escape(path)).to_string()
}
