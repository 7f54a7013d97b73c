//! A head of MERIT's form, as a metric.

use std::path::Path;

use anyhow::{Context, bail};
use mert_checkpoint::{Source, read_f32};
use mert_cli::terminal::{Exit, print, say};
use mert_search::learn::{HEAD_LAYERS, head_metric};
use mert_search::space::Affine;
use mert_search::{Catalogue, Metric};
use serde_json::json;

use super::LearnArgs;

use crate::open::open_catalogue;

/// Reads the head and writes it as a metric.
pub(super) fn run(args: &LearnArgs, path: &Path) -> anyhow::Result<Exit> {
    let (first, second) = layers(path)?;
    let layers = args.geometry.layers.as_deref().unwrap_or(HEAD_LAYERS);
    let about = json!({
        "from": path.file_name().map(|name| name.to_string_lossy().into_owned()),
        "sha256": mert_fs::sha256_file(path)?,
        "inputs": first.inputs,
        "outputs": second.outputs(),
    });
    let metric = head_metric(first, second, layers, about.clone())?;
    say(&format!(
        "note: nothing was measured here. MERIT's heads expect MERT-v1-330M, the hidden states {HEAD_LAYERS}, and the \
         first 30 s of each file, padded with zeros; this project pads nothing, so that shorter files differ"
    ));
    if let Some(folder) = &args.catalogue {
        let catalogue = open_catalogue(folder)?;
        metric.geometry(&catalogue)?;
        differences(&catalogue, &metric).iter().for_each(|difference| say(&format!("note: {difference}")));
    }
    metric.save(&args.output, args.force)?;
    let (inputs, outputs, sha256) = (metric.inputs(), metric.outputs(), metric.sha256()?);
    if args.json {
        print(&format!("{}\n", json!({ "head": about, "layers": layers, "sha256": sha256 })))?;
    } else {
        print(&format!(
            "a head that maps {inputs} values of the hidden states {layers} to {outputs}\nwrote {}\nsha256 {sha256}\n",
            args.output.display()
        ))?;
    }
    Ok(Exit::Success)
}

/// The two layers of the file, found by their shapes: two matrices with a bias each, of which one reads what the other returns.
fn layers(path: &Path) -> anyhow::Result<(Affine, Affine)> {
    let source = Source::open(path)?;
    let listing = source.listing();
    let mut found = Vec::new();
    for (name, tensor) in &listing.tensors {
        let Some(prefix) = name.strip_suffix("weight").filter(|_| tensor.shape.len() == 2) else { continue };
        let read = |name: &str| -> anyhow::Result<Vec<f64>> {
            let values = read_f32(source.checkpoint(), name)?;
            Ok(values.into_iter().map(f64::from).collect())
        };
        let bias = format!("{prefix}bias");
        if !listing.tensors.contains_key(&bias) {
            bail!("{}: {name} has no {bias}; a head is two linear layers with a bias each", path.display());
        }
        found.push(Affine { weight: read(name)?, bias: read(&bias)?, inputs: tensor.shape[1] });
    }
    let shapes =
        || found.iter().map(|layer| format!("{} → {}", layer.inputs, layer.outputs())).collect::<Vec<_>>().join(", ");
    if found.len() != 2 || listing.tensors.len() != 4 {
        bail!(
            "{}: expected two linear layers, such as 5120 → 512 and 512 → 128, and nothing else; found {} tensors with the \
             linear layers {}",
            path.display(),
            listing.tensors.len(),
            if found.is_empty() { "none".to_string() } else { shapes() }
        );
    }
    // By name: `net.0` is before `net.2`.
    let fits = |a: &Affine, b: &Affine| a.outputs() == b.inputs;
    let shapes = shapes();
    let second = found.pop().context("two layers")?;
    let first = found.pop().context("two layers")?;
    match (fits(&first, &second), fits(&second, &first)) {
        (true, _) => Ok((first, second)),
        (false, true) => Ok((second, first)),
        _ => bail!("{}: neither of the layers {shapes} reads what the other returns", path.display()),
    }
}

/// What the catalogue has that MERIT's heads do not expect.
fn differences(catalogue: &Catalogue, metric: &Metric) -> Vec<String> {
    let settings = catalogue.settings();
    let mut differences = Vec::new();
    let window = serde_json::to_value(settings.window).ok();
    let window = window.as_ref().and_then(|window| window.as_str()).unwrap_or_default();
    if !window.ends_with(":30s") && !window.starts_with("sliding:30s") {
        differences.push(format!("the catalogue's windows are {window}, not 30 s"));
    }
    if settings.dim != 1024 {
        differences.push(format!("the catalogue's vectors have {} values; MERT-v1-330M's have 1024", settings.dim));
    }
    let names: Vec<&str> = metric.origin().groups.iter().map(|group| group.name.as_str()).collect();
    if names.join(",") != HEAD_LAYERS {
        differences.push(format!("the head reads the hidden states {}", names.join(",")));
    }
    differences
}
