//! `mert-tokens oracle`: events, tokens or vectors to an oracle file.

use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use anyhow::{Context, bail, ensure};
use clap::{Args, ValueEnum};
use mert_cli::embedding::interrupt::while_writing;
use mert_cli::terminal::{Exit, counted, print, say};
use mert_events::FEATURES;
use mert_events::file::EventsFile;
use mert_fs::{replace_file, sha256_file};
use mert_oracle::{
    Distance, Grid, Matching, Material, NearTokens, OracleFile, Source, Statistics, SuffixMethod, ThresholdSearch,
    TokenMatch, information_rate,
};
use mert_table::printable_path;
use mert_tokens::output::{ReadTokens, deduplicate, parse_tokens};
use mert_tokens::vocabulary::{OpenedVocabulary, Vocabulary};
use serde_json::json;

use crate::file_kind::{FileKind, read_as, read_bytes};

/// Builds an oracle: the sequence of events with suffix links to where the same was played before.
///
/// The input is a file of mert-tokens events, tokens (a JSON list of integers, JSON lines of mert-tokens encode, .km, .npy) or
/// vectors (a JSON list of lists, .npy). Tokens match if they are equal. Vectors match if they are nearer than --threshold;
/// with --search the threshold is the one with the most information rate.
#[derive(Debug, Args)]
pub(crate) struct OracleArgs {
    /// Events, tokens or vectors; - for standard input
    input: PathBuf,
    /// The oracle to write: .json, or .oracle for the binary form of the same content
    #[arg(long, short, value_name = "FILE")]
    output: PathBuf,
    /// The distance below which vectors, or the features of events with the same token, match
    #[arg(long, value_name = "NUMBER", value_parser = distance_value, conflicts_with = "search")]
    threshold: Option<f64>,
    /// Try the thresholds from START up to, but without, STOP, and take the one with the most information rate
    #[arg(long, value_name = "START:STOP:STEP")]
    search: Option<Range>,
    /// The distance of vectors: euclidean, sqeuclidean, cosine, correlation, cityblock, chebyshev, canberra or braycurtis
    /// [default: euclidean]
    #[arg(long, value_name = "NAME")]
    distance: Option<Distance>,
    /// The features of events that are compared by --threshold or --search [default: all]
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    compare: Vec<String>,
    /// Take tokens of events for equal whose centres in --vocabulary are nearer than this
    #[arg(long, value_name = "NUMBER", value_parser = distance_value, requires = "vocabulary")]
    near: Option<f64>,
    /// The vocabulary of the tokens, for --near
    #[arg(long, value_name = "FILE", requires = "near")]
    vocabulary: Option<PathBuf>,
    /// The choice among several matches of vectors or events: inc (the first on the way) or complete (the nearest of all)
    /// [default: inc]
    #[arg(long, value_enum)]
    suffix: Option<Suffix>,
    /// Merge runs of equal tokens before the oracle is built: for tokens of every frame
    #[arg(long)]
    merge_runs: bool,
    /// Replace the output if it exists
    #[arg(long)]
    force: bool,
    /// Print the figures as JSON, with the curve of --search
    #[arg(long)]
    json: bool,
    /// Print nothing but errors
    #[arg(long, short)]
    quiet: bool,
}

/// The values of `--suffix`.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum Suffix {
    /// The first match on the way
    Inc,
    /// The nearest of all
    Complete,
}

/// The thresholds of `--search`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Range(pub(crate) Grid);

impl FromStr for Range {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let numbers: Option<Vec<f64>> = text.split(':').map(|number| number.parse().ok()).collect();
        let grid = match numbers.as_deref() {
            Some(&[start, stop, step]) => Grid { start, stop, step },
            _ => return Err("expected START:STOP:STEP, such as 0:2:0.01".into()),
        };
        grid.thresholds().map_err(|error| error.to_string())?;
        Ok(Range(grid))
    }
}

fn distance_value(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(number) if number.is_finite() && number >= 0.0 => Ok(number),
        _ => Err("expected a number from 0".into()),
    }
}

/// The material of an oracle, with its sources and digests.
pub(crate) struct OracleInput {
    pub(crate) material: Material,
    pub(crate) sources: Vec<Source>,
    /// The matching of the input's kind, without a threshold.
    pub(crate) matching: Matching,
    /// The SHA-256 of the vocabulary and of the model.
    digests: (Option<String>, Option<String>),
}

/// Opens an oracle file.
///
/// # Errors
/// If it cannot be read or is no oracle, with what it is.
pub(crate) fn open_oracle(path: &Path) -> anyhow::Result<OracleFile> {
    match path.is_dir() {
        true => bail!("{} is a folder, expected {}", printable_path(path), FileKind::Oracle),
        false => read_as(path, FileKind::Oracle, OracleFile::from_bytes(&read_bytes(path)?)),
    }
}

/// Runs the subcommand.
pub(crate) fn run(args: &OracleArgs) -> anyhow::Result<Exit> {
    let is_binary = match args.output.extension().and_then(|extension| extension.to_str()) {
        Some("json") => false,
        Some("oracle") => true,
        _ => bail!("{}: name the output .json or .oracle", printable_path(&args.output)),
    };
    ensure!(args.force || !args.output.exists(), mert_fs::FsError::OutputExists { path: args.output.clone() });
    ensure!(!mert_fs::is_same_file(&args.input, &args.output), "the output is the input; give another output");
    let mut input = OracleInput::read(&args.input, args.merge_runs, args.quiet)?;
    input.matching = args.matching(&input)?;
    let search = match args.search {
        Some(Range(grid)) => Some(input.matching.search_threshold(&input.material, grid, 1.0)?),
        None => None,
    };
    if let Some(search) = &search {
        input.matching = input.matching.with_threshold(search.best.threshold);
    }
    let file = OracleFile::build(input.matching, input.material, input.sources)?;
    let file = file.with_digests(input.digests.0, input.digests.1)?;
    if let (Some(note), false) = (unmatched(&file), args.quiet) {
        say(&note);
    }
    let statistics = Statistics::of(file.links());
    let warning = statistics.check(file.matching().has_threshold())?;
    let bytes = match is_binary {
        true => file.to_binary()?,
        false => {
            let mut bytes = Vec::new();
            file.write_json(&mut bytes)?;
            bytes
        }
    };
    while_writing(|| replace_file(&args.output, |output| output.write_all(&bytes)))?;
    if let (Some(warning), false) = (warning, args.quiet) {
        say(&warning);
    }
    args.report(&file, &statistics, search.as_ref())?;
    Ok(Exit::Success)
}

/// A sentence about vectors that match nothing whatever the threshold is.
fn unmatched(file: &OracleFile) -> Option<String> {
    let (Matching::Vectors { distance, .. }, Material::Vectors(vectors)) = (file.matching(), file.material()) else {
        return None;
    };
    let (what, is_unmatched): (_, fn(&[f64]) -> bool) = match distance {
        Distance::Cosine => ("zero", |vector| vector.iter().all(|&value| value == 0.0)),
        Distance::Correlation => ("of equal values", |vector| vector.iter().all(|&value| value == vector[0])),
        _ => return None,
    };
    let count = vectors.iter().filter(|vector| is_unmatched(vector)).count();
    (count > 0).then(|| {
        let total = vectors.len();
        format!("{count} of {total} vectors are {what}: by {distance} they match nothing at any threshold")
    })
}

impl OracleInput {
    /// Reads events, tokens or vectors.
    ///
    /// # Errors
    /// If the file is none of these.
    pub(crate) fn read(path: &Path, merge_runs: bool, quiet: bool) -> anyhow::Result<Self> {
        let is_stdin = path == Path::new("-");
        let path = if is_stdin { Path::new("standard input") } else { path };
        let mut bytes = Vec::new();
        let kind = if is_stdin {
            std::io::stdin().lock().read_to_end(&mut bytes).context("cannot read standard input")?;
            FileKind::of_bytes(&bytes)
        } else if path.is_dir() {
            Some(FileKind::Folder)
        } else {
            bytes = read_bytes(path)?;
            FileKind::of_bytes(&bytes)
        };
        match kind {
            Some(FileKind::Events) => {
                ensure!(!merge_runs, "--merge-runs is for tokens of every frame: events have been cut at onsets");
                let text =
                    String::from_utf8(bytes).with_context(|| format!("{} is not UTF-8", printable_path(path)))?;
                let file = EventsFile::read(&text).with_context(|| printable_path(path).to_string())?;
                return Ok(OracleInput::of_events(file));
            }
            Some(FileKind::EncodedTokens) | None => {}
            Some(other) => bail!("{} is {other}, expected events, tokens or vectors", printable_path(path)),
        }
        let head = bytes.split(|&byte| byte == b'\n').next().unwrap_or_default();
        // The JSON lines of `encode` say what the tokens come from.
        let digest = |name: &str| {
            let line = serde_json::from_slice::<serde_json::Value>(head).ok()?;
            line.get(name)?.as_str().filter(|digest| mert_fs::is_sha256(digest)).map(ToString::to_string)
        };
        let digests = (digest("vocabulary_sha256"), digest("model_sha256"));
        match parse_tokens(path, &bytes)? {
            ReadTokens::Vectors { dim, values } => {
                ensure!(!merge_runs, "--merge-runs is for tokens");
                Ok(OracleInput {
                    material: Material::Vectors(values.chunks_exact(dim.max(1)).map(<[f64]>::to_vec).collect()),
                    sources: Vec::new(),
                    matching: Matching::Symbols,
                    digests: (None, None),
                })
            }
            ReadTokens::Sequences(sequences) => {
                let (mut symbols, mut sources) = (Vec::new(), Vec::new());
                let mut merged = 0;
                for sequence in sequences {
                    let tokens = match merge_runs {
                        true => deduplicate(&sequence.tokens).0,
                        false => sequence.tokens,
                    };
                    merged += tokens.windows(2).filter(|pair| pair[0] == pair[1]).count();
                    let events = u32::try_from(tokens.len()).context("more tokens than an oracle holds")?;
                    sources.push(Source { name: sequence.file, sha256: None, duration: None, events });
                    symbols.extend(tokens);
                }
                // A plain list is of no recording.
                if sources.len() <= 1 && sources.iter().all(|source| source.name.is_empty()) {
                    sources.clear();
                }
                if merged * 4 > symbols.len() && !quiet {
                    say(&format!(
                        "{merged} of {} tokens equal the one before: with --merge-runs the oracle would hear longer contexts",
                        symbols.len()
                    ));
                }
                let material = Material::Symbols(symbols);
                Ok(OracleInput { material, sources, matching: Matching::Symbols, digests })
            }
        }
    }

    fn of_events(file: EventsFile) -> Self {
        let sources = file.recordings.iter().map(|recording| Source {
            name: recording.file.clone(),
            sha256: Some(recording.sha256.clone()),
            duration: Some(recording.duration),
            events: recording.events.len() as u32,
        });
        let sources = sources.collect();
        let events = file.recordings.into_iter().flat_map(|recording| recording.events).collect();
        OracleInput {
            material: Material::Events(events),
            sources,
            matching: Matching::Events {
                token: TokenMatch::Same,
                compared: Vec::new(),
                scales: file.scales,
                threshold: 0.0,
                suffix_method: SuffixMethod::Incremental,
            },
            digests: (Some(file.vocabulary), Some(file.model)),
        }
    }
}

impl OracleArgs {
    /// The matching that the options ask for.
    fn matching(&self, input: &OracleInput) -> anyhow::Result<Matching> {
        let suffix_method = match self.suffix {
            None | Some(Suffix::Inc) => SuffixMethod::Incremental,
            Some(Suffix::Complete) => SuffixMethod::Complete,
        };
        let is_vectors = matches!(input.material, Material::Vectors(_));
        ensure!(self.distance.is_none() || is_vectors, "--distance is for vectors: give --threshold without it");
        let given = self.threshold.is_some() || self.search.is_some();
        let threshold = self.threshold.unwrap_or(0.0);
        match &input.material {
            Material::Vectors(_) => {
                ensure!(given, "vectors match below a threshold: give --threshold, or --search to find one");
                ensure!(self.near.is_none() && self.compare.is_empty(), "--near and --compare are for events");
                let distance = self.distance.unwrap_or(Distance::Euclidean);
                Ok(Matching::Vectors { distance, threshold, suffix_method })
            }
            Material::Symbols(_) => {
                ensure!(
                    !given,
                    "tokens are names, and match if they are equal: --threshold and --search are for vectors and events"
                );
                ensure!(self.near.is_none() && self.compare.is_empty(), "--near and --compare are for events");
                ensure!(self.suffix.is_none(), "--suffix is for vectors and events: equal tokens have one match");
                Ok(Matching::Symbols)
            }
            Material::Events(events) => {
                ensure!(given || self.compare.is_empty(), "--compare needs --threshold or --search");
                let Matching::Events { scales, .. } = &input.matching else { bail!("events without scales") };
                let compared = match (given, &self.compare[..]) {
                    (false, _) => Vec::new(),
                    (true, []) => FEATURES.iter().map(|feature| feature.name.to_string()).collect(),
                    (true, names) => names.to_vec(),
                };
                let tokens: Vec<u32> = events.iter().map(|event| event.token).collect();
                let token = match (self.near, &self.vocabulary) {
                    (Some(near), Some(path)) => self.near_tokens(&tokens, near, path, input)?,
                    _ => TokenMatch::Same,
                };
                Ok(Matching::Events { token, compared, scales: scales.clone(), threshold, suffix_method })
            }
        }
    }

    /// The pairs of tokens whose centres are near.
    fn near_tokens(
        &self,
        tokens: &[u32],
        threshold: f64,
        path: &Path,
        input: &OracleInput,
    ) -> anyhow::Result<TokenMatch> {
        let vocabulary: Vocabulary = read_as(path, FileKind::Vocabulary, OpenedVocabulary::open(path))?.vocabulary;
        let digest = sha256_file(path)?;
        if let Some(expected) = input.digests.0.as_ref().filter(|expected| **expected != digest) {
            bail!(
                "{} is another vocabulary than that of the events: its SHA-256 is {digest}, theirs is {expected}",
                printable_path(path)
            );
        }
        let distance = |a: u32, b: u32| match (vocabulary.centroid(a), vocabulary.centroid(b)) {
            (Some(a), Some(b)) => {
                a.iter().zip(b).map(|(&a, &b)| (f64::from(a) - f64::from(b)).powi(2)).sum::<f64>().sqrt()
            }
            _ => f64::NAN,
        };
        Ok(TokenMatch::Near { threshold, pairs: NearTokens::among(tokens, threshold, distance) })
    }

    /// Prints the figures.
    fn report(
        &self,
        file: &OracleFile,
        statistics: &Statistics,
        search: Option<&ThresholdSearch>,
    ) -> std::io::Result<()> {
        let rate = information_rate(file.links(), 1.0).total();
        if self.json {
            let curve = search.map(|search| {
                search.curve.iter().map(|score| json!([score.threshold, score.information_rate])).collect::<Vec<_>>()
            });
            let report = json!({
                "oracle": printable_path(&self.output),
                "statistics": statistics,
                "information_rate": rate,
                "threshold": search.map(|search| search.best.threshold).or(self.threshold),
                "curve": curve,
            });
            return print(&format!("{report:#}\n"));
        }
        if self.quiet {
            return Ok(());
        }
        let mut text = format!(
            "{}: {} of {}, {:.1}% of suffix links at the start, mean repeated context {:.2} events (longest {}), \
             information rate {rate:.1} bits\n",
            printable_path(&self.output),
            counted(statistics.events, "event"),
            counted(statistics.clusters, "kind"),
            statistics.links_at_zero * 100.0,
            statistics.mean_lrs,
            statistics.max_lrs,
        );
        if let Some(search) = search {
            text += &match search.best.information_rate > 0.0 {
                true => format!("threshold {}, the best of {} tried\n", search.best.threshold, search.curve.len()),
                false => format!(
                    "no information rate at any of {}: the first, {}, is taken; search another range\n",
                    counted(search.curve.len(), "threshold"),
                    search.best.threshold
                ),
            };
        }
        print(&text)
    }
}
