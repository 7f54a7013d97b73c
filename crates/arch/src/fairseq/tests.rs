//! Training configurations in the forms that checkpoints have them.

use super::*;
use crate::{Config, ConfigField, FeatureExtractorNorm, ModelConfig};

fn text(text: &str) -> CfgValue {
    CfgValue::Text(text.into())
}

fn dict(entries: &[(&str, CfgValue)]) -> CfgValue {
    CfgValue::Dict(entries.iter().map(|(key, value)| (key.to_string(), value.clone())).collect())
}

/// The encoder of ContentVec's cfg, as its training code writes it.
fn contentvec() -> Vec<(&'static str, CfgValue)> {
    vec![
        ("_name", text("contentvec")),
        ("extractor_mode", text("default")),
        ("encoder_layers", CfgValue::Int(12)),
        ("encoder_layers_1", CfgValue::Int(3)),
        ("encoder_embed_dim", CfgValue::Int(768)),
        ("encoder_ffn_embed_dim", CfgValue::Int(3072)),
        ("encoder_attention_heads", CfgValue::Int(12)),
        ("activation_fn", text("gelu")),
        ("layer_norm_first", CfgValue::Bool(false)),
        ("conv_feature_layers", text("[(512,10,5)] + [(512,3,2)] * 4 + [(512,2,2)] * 2")),
        ("conv_bias", CfgValue::Bool(false)),
        ("conv_pos", CfgValue::Int(128)),
        ("conv_pos_groups", CfgValue::Int(16)),
        ("w2v_args", CfgValue::None),
    ]
}

fn task() -> Vec<(&'static str, CfgValue)> {
    vec![
        ("_name", text("hubert_pretraining")),
        ("normalize", CfgValue::Bool(false)),
        ("sample_rate", CfgValue::Int(16_000)),
    ]
}

fn read(cfg: &CfgValue) -> FairseqConfig {
    FairseqConfig::from_cfg(cfg).unwrap()
}

fn field(fields: &[ConfigField], name: &str) -> Option<String> {
    fields.iter().find(|field| field.name == name).map(|field| field.value.to_string())
}

#[test]
fn a_nested_cfg_and_flat_args_say_the_same() {
    let nested = read(&dict(&[("model", dict(&contentvec())), ("task", dict(&task()))]));
    let mut flat = contentvec();
    flat.remove(0);
    flat.extend(task().into_iter().skip(1));
    flat.push(("arch", text("contentvec")));
    let flat = read(&dict(&flat));
    let (nested_model, flat_model) = (nested.model.clone().unwrap(), flat.model.clone().unwrap());
    assert_eq!((nested_model.path, flat_model.path), ("model.", ""));
    assert_eq!(FairseqModel { path: "", ..nested_model }, flat_model);
    assert_eq!(nested.task, flat.task);
    assert_eq!(
        nested.task,
        FairseqTask { normalize: Some(false), sample_rate: Some(16_000), ..FairseqTask::default() }
    );
    let stated = nested.stated_fields().unwrap();
    assert_eq!(stated.assumptions, [""; 0]);
    assert_eq!(field(&stated.fields, "model_type").unwrap(), r#""hubert""#);
    assert_eq!(field(&stated.fields, "conv_stride").unwrap(), "[5,2,2,2,2,2,2]");
    assert_eq!(field(&stated.fields, "do_stable_layer_norm").unwrap(), "false");
    assert_eq!(Config::default().with_fields(&stated.fields).unwrap(), Config::default());
}

#[test]
fn a_fine_tuned_model_is_described_by_its_pretraining() {
    let pretraining = dict(&[("model", dict(&contentvec())), ("task", dict(&task()))]);
    let model = dict(&[("_name", text("hubert_ctc")), ("w2v_path", text("x.pt")), ("w2v_args", pretraining)]);
    let outer = [("normalize", CfgValue::Bool(false))];
    let config = read(&dict(&[("model", model.clone()), ("task", dict(&outer))]));
    let inner = config.model.unwrap();
    assert_eq!((inner.name.as_deref(), inner.path), (Some("contentvec"), "model.w2v_args.model."));
    assert_eq!(
        config.task,
        FairseqTask { normalize: Some(false), sample_rate: Some(16_000), ..FairseqTask::default() }
    );

    let args = dict(&contentvec());
    let flat = dict(&[("arch", text("wav2vec_ctc")), ("w2v_args", args)]);
    assert_eq!(read(&flat).model.unwrap().path, "w2v_args.");

    let other = [("normalize", CfgValue::Bool(true))];
    let error = read(&dict(&[("model", model), ("task", dict(&other))])).task.normalize_error.unwrap().to_string();
    assert!(error.contains("task.normalize") && error.contains("--do-normalize"), "{error}");

    let alone = dict(&[("model", dict(&[("_name", text("wav2vec_ctc")), ("w2v_path", text("x.pt"))]))]);
    assert_eq!(read(&alone).model, None);
    assert_eq!(read(&alone).stated_fields().unwrap(), StatedFields::default());
}

#[test]
fn interpolations_of_omegaconf_are_followed() {
    let model = [("layer_norm_first", text("${common.first}")), ("encoder_layers", text("???"))];
    let cfg = |first: CfgValue| {
        let model = [&model[..], &[("conv_feature_layers", text("[(8,2,2)]"))]].concat();
        dict(&[("model", dict(&model)), ("common", dict(&[("first", first)]))])
    };
    let model = read(&cfg(CfgValue::Bool(true))).model.unwrap();
    assert_eq!((model.layer_norm_first, model.encoder_layers), (Some(true), None));
    let model = read(&cfg(text("${common.first}"))).model.unwrap();
    assert_eq!(model.layer_norm_first, None);
}

#[test]
fn what_a_cfg_does_not_state_is_said() {
    let stated = read(&dict(&[("model", dict(&[("encoder_layers", CfgValue::Int(12))]))])).stated_fields().unwrap();
    for word in ["num_attention_heads = 12", "do_stable_layer_norm = false", "conv_stride = [5,", "hidden_act = gelu"] {
        assert!(stated.assumptions.iter().any(|text| text.starts_with(word)), "{word}: {stated:?}");
    }
    assert_eq!(field(&stated.fields, "model_type"), None);
}

#[test]
fn families_by_name() {
    for (name, model_type) in [
        ("hubert", "hubert"),
        ("contentvec", "hubert"),
        ("wav2vec2", "wav2vec2"),
        ("data2vec_audio", "data2vec-audio"),
        ("mert", "mert_model"),
    ] {
        let model = FairseqModel { name: Some(name.into()), ..FairseqModel::default() };
        assert_eq!(model.model_type().unwrap(), Some(model_type));
    }
    let wavlm = FairseqModel { relative_position_embedding: Some(true), ..FairseqModel::default() };
    assert_eq!(wavlm.model_type().unwrap(), Some("wavlm"));
    let error = FairseqModel { name: Some("bert".into()), ..FairseqModel::default() }.model_type().unwrap_err();
    assert!(error.to_string().contains("`bert`") && error.to_string().contains("--config"), "{error}");
}

#[test]
fn unsupported_and_invalid_values_are_refused_by_name() {
    for (name, value, word) in [
        ("layer_type", text("conformer"), "Conformer"),
        ("layer_type", text("trf_adp"), "adapters"),
        ("pos_enc_type", text("rel_pos"), "abs"),
        ("extractor_mode", text("batch_norm"), "layer_norm"),
        ("extractor_mode", CfgValue::Other("x.Y".into()), "a pickled `x.Y`"),
        ("feature_extractor_cqt", CfgValue::Bool(true), "constant-Q"),
        ("layer_norm_first", text("yes"), "True or False"),
        ("encoder_attention_heads", CfgValue::Int(-3), "-3"),
        ("encoder_attention_heads", CfgValue::Float(12.0), "12.0"),
        ("conv_feature_layers", text("[(512,10,5)"), "the end"),
        ("conv_feature_layers", CfgValue::List(vec![CfgValue::Int(3)]), "a list of 1"),
        ("attention_relax", CfgValue::Float(f64::NAN), "finite"),
    ] {
        let mut model = contentvec();
        model.retain(|(field, _)| *field != name);
        model.push((name, value));
        let error = FairseqConfig::from_cfg(&dict(&[("model", dict(&model))])).unwrap_err();
        assert_eq!(error.field, format!("model.{name}"));
        assert!(error.to_string().contains(word), "{error}");
    }
    let rate = dict(&[("task", dict(&[("sample_rate", CfgValue::Int(16))]))]);
    let error = read(&rate).task.sample_rate_error.unwrap().to_string();
    assert!(error.contains("hertz") && error.contains("--sampling-rate"), "{error}");
    let normalize = dict(&[("task", dict(&[("normalize", text("False"))]))]);
    let error = read(&normalize).task.normalize_error.unwrap().to_string();
    assert!(error.contains("task.normalize") && error.contains("--do-normalize"), "{error}");
    let activation = FairseqModel { activation_fn: Some("swish".into()), ..FairseqModel::default() };
    let config = FairseqConfig { model: Some(activation), ..FairseqConfig::default() };
    assert!(config.stated_fields().unwrap_err().to_string().contains("`swish`"));
}

#[test]
fn lists_of_convolutions_may_be_values() {
    let layer = |numbers: [i64; 3]| CfgValue::List(numbers.map(CfgValue::Int).into());
    let layers = CfgValue::List(vec![layer([8, 10, 5]), layer([8, 3, 2])]);
    let model = read(&dict(&[("conv_feature_layers", layers)])).model.unwrap();
    let [first, second] = model.conv_feature_layers.unwrap()[..] else { panic!() };
    assert_eq!((first, second.stride), (ConvLayer { dim: 8, kernel: 10, stride: 5 }, 2));
}

#[test]
fn contradictions_name_both_sides() {
    let model = read(&dict(&contentvec())).model.unwrap();
    let config = Config::default();
    assert_eq!(model.contradictions(&config, 0), []);
    assert_eq!(model.contradictions(&config, 3), []);
    for (other, field) in [
        (Config { conv_bias: true, ..config.clone() }, "conv_bias"),
        (Config { feat_extract_norm: FeatureExtractorNorm::Layer, ..config.clone() }, "extractor_mode"),
        (Config { hidden_size: 1024, ..config.clone() }, "encoder_embed_dim"),
        (Config { intermediate_size: 4096, ..config.clone() }, "encoder_ffn_embed_dim"),
        (Config { num_hidden_layers: 11, ..config.clone() }, "encoder_layers"),
        (Config { conv_dim: vec![256; 7], ..config.clone() }, "conv_feature_layers"),
        (Config { conv_kernel: vec![10, 3, 3, 3, 3, 2, 3], ..config.clone() }, "conv_feature_layers"),
        (Config { num_conv_pos_embeddings: 64, ..config.clone() }, "conv_pos"),
        (Config { num_conv_pos_embedding_groups: 8, ..config.clone() }, "conv_pos_groups"),
    ] {
        let found = model.contradictions(&other, 0);
        let [found] = &found[..] else { panic!("{found:?}") };
        assert_eq!(found.field, field);
        let text = found.to_string();
        assert!(text.contains(&found.stated) && text.contains(&found.shown) && found.stated != found.shown, "{text}");
    }
    assert_eq!(model.contradictions(&config, 2)[0].field, "encoder_layers_1");

    let data2vec = FairseqModel { conv_pos: Some(95), pos_conv_depth: Some(5), ..FairseqModel::default() };
    let config = ModelConfig::all()[6].default_config();
    assert_eq!(data2vec.contradictions(&config, 0), []);
    let other = FairseqModel { pos_conv_depth: Some(4), ..data2vec };
    assert_eq!(other.contradictions(&config, 0)[0].field, "pos_conv_depth");
    let wavlm = FairseqModel { relative_position_embedding: Some(true), ..FairseqModel::default() };
    assert_eq!(wavlm.contradictions(&Config::default(), 0)[0].field, "relative_position_embedding");
    let buckets = FairseqModel { num_buckets: Some(32), ..wavlm };
    assert_eq!(buckets.contradictions(&ModelConfig::all()[5].default_config(), 0)[0].field, "num_buckets");
}
