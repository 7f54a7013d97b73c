//! The tables in both directions, and beside names written out by hand from the sources.

use std::collections::BTreeSet;

use super::*;
use crate::{Config, FeatureExtractorNorm, HubertConfig, ModelConfig, inventory};

const SCHEMES: [NamingScheme; 3] = [NamingScheme::Fairseq, NamingScheme::WavLm, NamingScheme::Torchaudio];

/// The Hugging Face names of a model, with the spellings that checkpoints have.
fn names(config: &Config) -> Vec<String> {
    inventory(config).into_iter().map(|spec| spec.name).collect()
}

/// Every family, HuBERT with every variant of its names.
fn configs() -> Vec<Config> {
    let layer = Config { feat_extract_norm: FeatureExtractorNorm::Layer, conv_bias: true, ..Config::default() };
    let batch_norm = ModelConfig::Hubert(HubertConfig { conv_pos_batch_norm: true }).default_config();
    let families = ModelConfig::all().map(|family| family.default_config());
    families.into_iter().chain([layer, batch_norm]).collect()
}

/// Whether a scheme has names for a model's tensors: fairseq itself has no position bias.
fn has_names(scheme: NamingScheme, config: &Config) -> bool {
    scheme != NamingScheme::Fairseq || config.position_bias().is_none()
}

#[test]
fn every_tensor_of_the_inventory_round_trips() {
    for config in configs() {
        let variant = Variant::of_config(&config);
        for scheme in SCHEMES.into_iter().filter(|scheme| has_names(*scheme, &config)) {
            let table = scheme.table(variant);
            let mut others = BTreeSet::new();
            for name in names(&config) {
                let other = table.from_hugging_face(&name).unwrap_or_else(|| panic!("{scheme}: {name}"));
                let back = match (table.to_hugging_face(&other.name), other.third) {
                    (Some(HuggingFaceNames::One(back)), None) => back,
                    (Some(HuggingFaceNames::Thirds(thirds)), Some(third)) => thirds[third].clone(),
                    found => panic!("{scheme}: {name}: {found:?}"),
                };
                assert_eq!(back, name, "{scheme}: {other:?}");
                assert!(others.insert((other.name.clone(), other.third)), "{scheme}: two tensors are {other:?}");
            }
        }
    }
}

#[test]
fn the_variant_is_known_from_the_names() {
    for config in configs() {
        let variant = Variant::of_config(&config);
        for scheme in SCHEMES.into_iter().filter(|scheme| has_names(*scheme, &config)) {
            let table = scheme.table(variant);
            let others: Vec<String> =
                names(&config).iter().map(|name| table.from_hugging_face(name).unwrap().name).collect();
            let found = Variant::of_names(others.iter().map(String::as_str));
            // Only what decides a scheme's names shows in them.
            let expected = match scheme {
                NamingScheme::Torchaudio => Variant { position_bias: variant.position_bias, ..Variant::default() },
                _ => Variant { position_bias: false, ..variant },
            };
            assert_eq!(found, expected, "{scheme}: {}", config.family().model_type);
        }
    }
}

/// Names from the sources of fairseq, WavLM and torchaudio.
#[test]
fn names_of_the_sources() {
    let plain = Variant::default();
    let layer = Variant { norm: FeatureExtractorNorm::Layer, ..plain };
    let batch_norm = Variant { positional: PositionalNames::BatchNorm, ..plain };
    let stack = Variant { positional: PositionalNames::Stack, ..plain };
    let bias = Variant { position_bias: true, ..plain };
    use NamingScheme::{Fairseq, Torchaudio, WavLm};
    for (scheme, variant, other, expected) in [
        (Fairseq, plain, "feature_extractor.conv_layers.3.0.weight", "feature_extractor.conv_layers.3.conv.weight"),
        (Fairseq, plain, "feature_extractor.conv_layers.0.2.bias", "feature_extractor.conv_layers.0.layer_norm.bias"),
        (Fairseq, layer, "feature_extractor.conv_layers.0.2.1.bias", "feature_extractor.conv_layers.0.layer_norm.bias"),
        (
            Fairseq,
            layer,
            "feature_extractor.conv_layers.6.2.1.weight",
            "feature_extractor.conv_layers.6.layer_norm.weight",
        ),
        (Fairseq, plain, "layer_norm.weight", "feature_projection.layer_norm.weight"),
        (Fairseq, plain, "post_extract_proj.bias", "feature_projection.projection.bias"),
        (Fairseq, plain, "mask_emb", "masked_spec_embed"),
        (Fairseq, plain, "encoder.pos_conv.0.weight_g", "encoder.pos_conv_embed.conv.weight_g"),
        (Fairseq, plain, "encoder.pos_conv.0.bias", "encoder.pos_conv_embed.conv.bias"),
        (Fairseq, batch_norm, "encoder.pos_conv.0.running_var", "encoder.pos_conv_embed.batch_norm.running_var"),
        (Fairseq, batch_norm, "encoder.pos_conv.0.bias", "encoder.pos_conv_embed.batch_norm.bias"),
        (Fairseq, batch_norm, "encoder.pos_conv.1.weight", "encoder.pos_conv_embed.conv.weight"),
        (Fairseq, stack, "encoder.pos_conv.4.0.weight", "encoder.pos_conv_embed.layers.4.conv.weight"),
        (Fairseq, plain, "encoder.layers.11.self_attn.out_proj.bias", "encoder.layers.11.attention.out_proj.bias"),
        (Fairseq, plain, "encoder.layers.0.self_attn_layer_norm.bias", "encoder.layers.0.layer_norm.bias"),
        (Fairseq, plain, "encoder.layers.0.final_layer_norm.bias", "encoder.layers.0.final_layer_norm.bias"),
        (Fairseq, plain, "encoder.layers.2.fc1.weight", "encoder.layers.2.feed_forward.intermediate_dense.weight"),
        (Fairseq, plain, "encoder.layers.2.fc2.weight", "encoder.layers.2.feed_forward.output_dense.weight"),
        (Fairseq, plain, "encoder.layer_norm.weight", "encoder.layer_norm.weight"),
        (WavLm, plain, "encoder.layers.5.self_attn.grep_a", "encoder.layers.5.attention.gru_rel_pos_const"),
        (
            WavLm,
            plain,
            "encoder.layers.5.self_attn.grep_linear.bias",
            "encoder.layers.5.attention.gru_rel_pos_linear.bias",
        ),
        (
            WavLm,
            plain,
            "encoder.layers.0.self_attn.relative_attention_bias.weight",
            "encoder.layers.0.attention.rel_attn_embed.weight",
        ),
        (WavLm, plain, "encoder.layers.5.self_attn.q_proj.bias", "encoder.layers.5.attention.q_proj.bias"),
        (Torchaudio, plain, "encoder.feature_projection.projection.bias", "feature_projection.projection.bias"),
        (
            Torchaudio,
            plain,
            "encoder.transformer.pos_conv_embed.conv.parametrizations.weight.original0",
            "encoder.pos_conv_embed.conv.parametrizations.weight.original0",
        ),
        (Torchaudio, plain, "encoder.transformer.layer_norm.bias", "encoder.layer_norm.bias"),
        (
            Torchaudio,
            plain,
            "encoder.transformer.layers.1.feed_forward.output_dense.bias",
            "encoder.layers.1.feed_forward.output_dense.bias",
        ),
        (
            Torchaudio,
            bias,
            "encoder.transformer.layers.1.attention.attention.out_proj.bias",
            "encoder.layers.1.attention.out_proj.bias",
        ),
        (
            Torchaudio,
            bias,
            "encoder.transformer.layers.0.attention.rel_attn_embed.weight",
            "encoder.layers.0.attention.rel_attn_embed.weight",
        ),
    ] {
        let table = scheme.table(variant);
        assert_eq!(table.to_hugging_face(other), Some(HuggingFaceNames::One(expected.into())), "{scheme}: {other}");
        assert_eq!(table.from_hugging_face(expected).unwrap().name, other, "{scheme}: {expected}");
    }
}

#[test]
fn stacked_projections_are_three_tensors_in_order() {
    for (scheme, position_bias, stacked) in [
        (NamingScheme::Torchaudio, true, "encoder.transformer.layers.7.attention.attention.in_proj_weight"),
        (NamingScheme::Fairseq, false, "encoder.layers.7.self_attn.in_proj_weight"),
    ] {
        let table = scheme.table(Variant { position_bias, ..Variant::default() });
        let thirds = ["q_proj", "k_proj", "v_proj"].map(|proj| format!("encoder.layers.7.attention.{proj}.weight"));
        assert_eq!(table.to_hugging_face(stacked), Some(HuggingFaceNames::Thirds(thirds.clone())));
        if position_bias {
            for (third, name) in thirds.iter().enumerate() {
                let expected = OtherName { name: stacked.into(), third: Some(third) };
                assert_eq!(table.from_hugging_face(name), Some(expected));
            }
        }
    }
}

#[test]
fn the_scheme_of_each_model_is_found() {
    let find = |keys: &[&str]| find_schemes(keys.iter().copied()).into_iter().collect::<Vec<_>>();
    let fairseq = "feature_extractor.conv_layers.0.0.weight";
    assert_eq!(find(&[CONV0_WEIGHT]), [(String::new(), NamingScheme::HuggingFace)]);
    assert_eq!(find(&[fairseq, "mask_emb"]), [(String::new(), NamingScheme::Fairseq)]);
    let prefixed = format!("w2v_encoder.w2v_model.{fairseq}");
    assert_eq!(find(&[&prefixed]), [("w2v_encoder.w2v_model.".to_string(), NamingScheme::Fairseq)]);
    assert_eq!(
        find(&[fairseq, "encoder.layers.0.self_attn.grep_linear.weight"]),
        [(String::new(), NamingScheme::WavLm)]
    );
    let torchaudio = [CONV0_WEIGHT, "encoder.transformer.layer_norm.bias"];
    assert_eq!(find(&torchaudio), [(String::new(), NamingScheme::Torchaudio)]);
    let both = [CONV0_WEIGHT, "model.feature_extractor.conv_layers.0.0.weight"];
    assert_eq!(
        find(&both),
        [(String::new(), NamingScheme::HuggingFace), ("model.".to_string(), NamingScheme::Fairseq)]
    );
    for name in ["xfeature_extractor.conv_layers.0.0.weight", "feature_extractor.conv_layers.0.0.bias"] {
        assert_eq!(find(&[name]), [], "{name}");
    }
}

#[test]
fn training_only_tensors_have_a_reason() {
    for name in [
        "final_proj.weight",
        "final_proj.0.weight",
        "final_projs.3.bias",
        "label_embs_concat",
        "quantizer.vars",
        "quantizer.weight_proj.weight",
        "project_q.bias",
        "encoder_cqt_model.fc.weight",
        "encoder_mel_model.fc.bias",
        "logit_temp_list",
        "layer_proj.bias",
        "proj.weight",
    ] {
        assert!(NamingScheme::Fairseq.training_only_reason(name).is_some(), "{name}");
        assert_eq!(NamingScheme::HuggingFace.training_only_reason(name), None);
    }
    assert!(NamingScheme::Torchaudio.training_only_reason("mask_generator.mask_embedding").is_some());
    for name in ["layer_norm.weight", "post_extract_proj.weight", "encoder.layers.0.fc1.weight", "projector.weight"] {
        assert_eq!(NamingScheme::Fairseq.training_only_reason(name), None, "{name}");
    }
}
