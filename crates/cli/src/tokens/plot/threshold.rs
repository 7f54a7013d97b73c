//! The picture of a search for a threshold.

use std::path::PathBuf;

use anyhow::{bail, ensure};
use clap::Args;
use mert_cli::terminal::Exit;
use mert_events::FEATURES;
use mert_oracle::{Distance, Matching, Material, SuffixMethod, ThresholdScore, TokenMatch};
use mert_plots::{ThresholdPicture, ThresholdPoint};
use mert_table::printable_path;
use mert_tokens::output::ReadTokens;

use super::OutputArgs;
use super::input::{Input, read};
use super::oracle::name_of;
use crate::oracle::Range;

/// The options of `plot threshold`.
#[derive(Debug, Args)]
pub(crate) struct ThresholdArgs {
    /// Events, vectors (a JSON list of lists, .npy), or an oracle of either, whose own rule is then taken
    input: PathBuf,
    /// The thresholds from START up to, but without, STOP
    #[arg(long, value_name = "START:STOP:STEP", default_value = "0:1:0.01")]
    search: Range,
    /// The distance of vectors: euclidean, sqeuclidean, cosine, correlation, cityblock, chebyshev, canberra or braycurtis
    #[arg(long, value_name = "NAME")]
    distance: Option<Distance>,
    /// The features of events that are compared [default: all]
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    compare: Vec<String>,
    #[command(flatten)]
    output: OutputArgs,
}

/// Draws the search.
pub(crate) fn run(args: &ThresholdArgs) -> anyhow::Result<Exit> {
    args.output.check(&[&args.input])?;
    let (matching, material) = args.matching()?;
    let search = matching.search_threshold(&material, args.search.0, 1.0)?;
    let point = |score: &ThresholdScore| ThresholdPoint {
        threshold: score.threshold,
        information_rate: score.information_rate,
        clusters: score.clusters,
    };
    let picture = ThresholdPicture {
        title: args.output.title(|| format!("Information rate of {} by threshold", name_of(&args.input))),
        curve: search.curve.iter().map(point).collect(),
        best: point(&search.best),
    };
    args.output.write(&picture.svg()?)
}

impl ThresholdArgs {
    fn matching(&self) -> anyhow::Result<(Matching, Material)> {
        let name = printable_path(&self.input);
        let names_are_equal = "tokens are names, and match if they are equal: a threshold is for vectors and events";
        let suffix_method = SuffixMethod::Incremental;
        match read(&self.input)? {
            Input::Oracle(oracle) => {
                ensure!(
                    self.distance.is_none() && self.compare.is_empty(),
                    "{name} has its own rule: leave --distance and --compare out"
                );
                match oracle.matching() {
                    Matching::Symbols => bail!("{name}: {names_are_equal}"),
                    Matching::Events { compared, .. } => ensure!(
                        !compared.is_empty(),
                        "{name} compares no feature of its events: build it with --threshold, or give the file of events"
                    ),
                    Matching::Vectors { .. } => {}
                }
                Ok((oracle.matching().clone(), oracle.material().clone()))
            }
            Input::Events(file) => {
                ensure!(self.distance.is_none(), "--distance is for vectors; events have scaled features");
                let all = || FEATURES.iter().map(|feature| feature.name.to_string()).collect();
                let compared = if self.compare.is_empty() { all() } else { self.compare.clone() };
                let (scales, token) = (file.scales.clone(), TokenMatch::Same);
                let matching = Matching::Events { token, compared, scales, threshold: 0.0, suffix_method };
                Ok((matching, Material::Events(file.events().cloned().collect())))
            }
            Input::Tokens(ReadTokens::Vectors { dim, values }) => {
                ensure!(self.compare.is_empty(), "--compare is for events");
                let distance = self.distance.unwrap_or(Distance::Euclidean);
                let matching = Matching::Vectors { distance, threshold: 0.0, suffix_method };
                Ok((matching, Material::Vectors(values.chunks_exact(dim.max(1)).map(<[f64]>::to_vec).collect())))
            }
            Input::Tokens(ReadTokens::Sequences(_)) => bail!("{name}: {names_are_equal}"),
        }
    }
}
