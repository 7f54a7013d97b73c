//! The picture of tokens by rank.

use std::path::PathBuf;

use anyhow::bail;
use clap::Args;
use mert_cli::terminal::Exit;
use mert_oracle::Material;
use mert_plots::RanksPicture;
use mert_table::printable_path;
use mert_tokens::output::ReadTokens;

use super::OutputArgs;
use super::input::{Input, line_infos, read};
use super::oracle::name_of;

/// The options of `plot ranks`.
#[derive(Debug, Args)]
pub(crate) struct RanksArgs {
    /// Tokens, events, or an oracle of either
    input: PathBuf,
    /// The number of tokens of the vocabulary [default: what the file says, else the different ones in it]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    k: Option<u32>,
    #[command(flatten)]
    output: OutputArgs,
}

/// Draws the shares of tokens.
pub(crate) fn run(args: &RanksArgs) -> anyhow::Result<Exit> {
    args.output.check(&[&args.input])?;
    let name = printable_path(&args.input);
    let mut k = args.k;
    let (tokens, item_name): (Vec<u32>, _) = match read(&args.input)? {
        Input::Events(file) => (file.events().map(|event| event.token).collect(), ("event", "events")),
        Input::Oracle(oracle) => match oracle.material() {
            Material::Vectors(_) => bail!("{name} has vectors, which have no tokens"),
            material => ((0..material.len()).filter_map(|event| material.token(event)).collect(), ("event", "events")),
        },
        Input::Tokens(ReadTokens::Vectors { .. }) => bail!("{name} has vectors, which have no tokens"),
        Input::Tokens(ReadTokens::Sequences(sequences)) => {
            k = k.or_else(|| line_infos(&args.input).ok()?.first()?.k);
            (sequences.into_iter().flat_map(|sequence| sequence.tokens).collect(), ("token", "tokens"))
        }
    };
    let title = args.output.title(|| format!("Tokens of {} by rank", name_of(&args.input)));
    args.output.write(&RanksPicture { title, tokens, item_name, k }.svg()?)
}
