//! The check that a base model is the one that a .ckpt was trained from, by the sizes that both have.

use std::collections::BTreeMap;

use mert_arch::{ConfigError, MusicgenConfig, printable_line};

use super::config::parsed;
use super::error::{MusicgenError, SizeDifference};
use super::kind::{MusicgenKind, RecognizedMusicgen};
use super::tensors::Found;
use crate::Result;

/// The codebooks of a stereo model.
const STEREO_CODEBOOKS: usize = 8;

/// Checks that a base model has the sizes of the .ckpt that names it: the number of heads is in no shape, so that the base of
/// another model would state a wrong one.
///
/// # Errors
/// [`MusicgenError::Unfit`] with every size that differs; [`MusicgenError::Config`] for a `config.json` of the base that is none.
pub(super) fn check(
    main: &RecognizedMusicgen,
    base: &RecognizedMusicgen,
    own: &BTreeMap<String, Found>,
    of_base: &BTreeMap<String, Found>,
) -> Result<()> {
    let expected = sizes_of_tensors(own);
    let mut stated = vec![(format!("the tensors of {}", base.path.display()), sizes_of_tensors(of_base))];
    if base.kind == MusicgenKind::HuggingFace
        && let Some((path, text)) = base.config_text()?
    {
        let error = |source: ConfigError| MusicgenError::Config { path: path.clone(), what: "config.json", source };
        let config = MusicgenConfig::from_value(&parsed(&path, &text)?).map_err(error)?;
        stated.insert(0, (path.display().to_string(), sizes_of_config(&config)));
    }
    let mut differences: Vec<SizeDifference> = Vec::new();
    for (found_by, sizes) in stated {
        for (field, found) in sizes {
            let is_new = !differences.iter().any(|difference| difference.field == field);
            let Some(&size) = expected.get(field).filter(|&&size| size != found && is_new) else { continue };
            let is_stereo = field == "decoder.num_codebooks" && found == STEREO_CODEBOOKS;
            let stereo = if is_stereo { " (stereo, and Instruct-MusicGen edits mono)" } else { "" };
            differences.push(SizeDifference {
                field,
                found: format!("{found}{stereo}"),
                found_by: printable_line(&found_by),
                expected: size.to_string(),
                expected_by: printable_line(&format!("the tensors of {}", main.path.display())),
            });
        }
    }
    if differences.is_empty() {
        return Ok(());
    }
    let advice = "give the MusicGen that the .ckpt was trained from";
    Err(MusicgenError::Unfit { option: "--base", path: base.path.clone(), differences, advice }.into())
}

/// The sizes that the shapes of a model's tensors have, by their fields in a `config.json`; those of missing tensors are left
/// out.
fn sizes_of_tensors(tensors: &BTreeMap<String, Found>) -> BTreeMap<&'static str, usize> {
    let axis = |name: &str, axis: usize| tensors.get(name)?.info.shape.get(axis).copied();
    let numbers = |start: &str| {
        let number = |name: &String| name.strip_prefix(start)?.split('.').next()?.parse::<usize>().ok();
        tensors.keys().filter_map(number).max().map(|last| last.saturating_add(1))
    };
    let sizes = [
        ("decoder.num_hidden_layers", numbers("lm.layers.")),
        (
            "decoder.hidden_size",
            axis("lm.emb.0.weight", 1)
                .or_else(|| axis("lm.layers.0.cross_attn.q_proj.weight", 0))
                .or_else(|| axis("cp_transformer.pos_emb", 2)),
        ),
        ("decoder.ffn_dim", axis("lm.layers.0.linear1.weight", 0)),
        ("decoder.num_codebooks", numbers("lm.emb.")),
        ("decoder.vocab_size", axis("lm.linears.0.weight", 0)),
        ("text_encoder.d_model", axis("text_conditioner.output_proj.weight", 1)),
    ];
    sizes.into_iter().filter_map(|(field, size)| Some((field, size?))).collect()
}

/// The same sizes of a configuration.
fn sizes_of_config(config: &MusicgenConfig) -> BTreeMap<&'static str, usize> {
    let decoder = &config.decoder;
    BTreeMap::from([
        ("decoder.num_hidden_layers", decoder.num_hidden_layers),
        ("decoder.hidden_size", decoder.hidden_size),
        ("decoder.ffn_dim", decoder.ffn_dim),
        ("decoder.num_codebooks", decoder.num_codebooks),
        ("decoder.vocab_size", decoder.vocab_size),
        ("text_encoder.d_model", config.text_hidden_size),
    ])
}
