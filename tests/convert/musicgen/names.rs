//! The names of the output: the same tensors under every scheme, and those of mlx-examples' class.

use std::collections::BTreeSet;

use mert_arch::naming::MusicgenNames;

use super::*;
use crate::scratch::listing;

#[test]
fn every_scheme_has_the_same_tensors() {
    let scratch = Scratch::new();
    let tensors = |names: &str| {
        convert_instruct(&scratch.path(names), &["--names", names, "--quantize"]);
        assert_eq!(config(&scratch.path(names))["names"], names);
        let bytes = fs::read(scratch.path(names).join("model.safetensors")).unwrap();
        let file = SafeTensors::deserialize(&bytes).unwrap();
        let parts =
            file.tensors().into_iter().map(|(name, view)| (name, (view.shape().to_vec(), view.data().to_vec())));
        parts.collect::<BTreeMap<_, _>>()
    };
    let mlx = tensors("mlx");
    for names in [MusicgenNames::HuggingFace, MusicgenNames::Upstream] {
        let renamed: BTreeMap<_, _> =
            tensors(names.name()).into_iter().map(|(name, tensor)| (names.to_mlx(&name).unwrap(), tensor)).collect();
        assert!(renamed == mlx, "{names}");
    }
    let upstream = written(&scratch.path("upstream/model.safetensors"));
    assert!(upstream.contains_key("transformer.layers.2.cross_attention.v_proj.scales"));
}

/// The parameters of mlx-examples' `MusicGen`, whose attributes they are: `load_weights` is strict.
#[test]
fn mlx_examples_names() {
    let scratch = Scratch::new();
    convert(&plain(), &scratch.path("bundle"), &["--for", "mlx-examples"]);
    let mut expected: BTreeSet<String> = BTreeSet::new();
    for k in 0..CODEBOOKS {
        expected.extend([format!("emb.{k}.weight"), format!("linears.{k}.weight")]);
    }
    expected.extend(["out_norm.weight", "out_norm.bias"].map(String::from));
    expected.extend(["text_conditioner.output_proj.weight", "text_conditioner.output_proj.bias"].map(String::from));
    for i in 0..PLAIN_LAYERS {
        for attention in ["self_attn", "cross_attn"] {
            expected.extend(["q", "k", "v", "out"].map(|part| format!("layers.{i}.{attention}.{part}_proj.weight")));
        }
        expected.extend(["linear1", "linear2"].map(|linear| format!("layers.{i}.{linear}.weight")));
        for norm in ["norm1", "norm_cross", "norm2"] {
            expected.extend(["weight", "bias"].map(|part| format!("layers.{i}.{norm}.{part}")));
        }
    }
    let found: BTreeSet<String> = written(&scratch.path("bundle/model.safetensors")).into_keys().collect();
    assert_eq!(found, expected);
    assert_eq!(
        listing(&scratch.path("bundle")),
        ["README.md", "config.json", "model.safetensors", "model.safetensors.index.json"]
    );
    // What the class reads of the configuration.
    let fields = config(&scratch.path("bundle"));
    for field in ["num_hidden_layers", "hidden_size", "num_attention_heads", "ffn_dim", "num_codebooks", "bos_token_id"]
    {
        assert!(fields["decoder"][field].is_u64(), "{field}");
    }
    assert!(fields["audio_encoder"]["codebook_size"].is_u64() && fields["audio_encoder"]["sampling_rate"].is_u64());
    assert!(fields["text_encoder"]["d_model"].is_u64());
    assert_eq!(fields["text_encoder"]["_name_or_path"], "t5-base");
    assert_eq!(fields["audio_encoder"]["_name_or_path"], "facebook/encodec_32khz");

    let words = ["--for mlx-examples is for plain MusicGen", "condition transformer"];
    refused(&scratch, &upstream("finetuned.ckpt"), &["--for", "mlx-examples"], &words);
    let t5 = upstream("t5");
    let options = ["--for", "mlx-examples", "--t5", t5.to_str().unwrap()];
    refused(&scratch, &plain(), &options, &["--t5 has no place", "by its name"]);
    refused(&scratch, &plain(), &["--for", "mlx-examples", "--names", "hf"], &["give one of them"]);
}
