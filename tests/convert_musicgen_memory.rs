//! The memory of a conversion of Instruct-MusicGen, which does not grow with the size of the tensors.
//!
//! The test is alone in its program, whose allocator counts. Mapped files are not allocated: they belong to the page cache.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use mert_arch::{MusicgenConfig, Role};
use mert_convert::QuantizeOptions;
use mert_convert::musicgen::{MusicgenConversion, MusicgenOptions, RecognizedMusicgen};
use mert_testkit::{Tensor, write_torch_zip};
use peak_alloc::PeakAlloc;

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

const WIDTH: usize = 1024;
const RANK: usize = 8;

/// A checkpoint of one layer by the names of a Lightning file.
fn tensors() -> Vec<(String, Tensor)> {
    let json = format!(
        r#"{{"model_type": "instruct_musicgen", "decoder": {{"hidden_size": {WIDTH}, "num_attention_heads": 16, "ffn_dim": 16384,
        "num_hidden_layers": 1}}, "text_encoder": {{}}, "audio_encoder": {{}},
        "cp_transformer": {{"num_layers": 1, "max_frames": 2001, "hidden_size": {WIDTH}}}}}"#
    );
    let config = MusicgenConfig::from_json(&json).unwrap();
    let make = |shape: &[usize]| {
        let count = shape.iter().product::<usize>();
        let values = (0..count).map(|i| ((i * 2_654_435_761) % 4096) as f32 / 4096.0 - 0.5).collect();
        Tensor { shape: shape.to_vec(), values }
    };
    let lm = "model.peft_model.lm.";
    let layer = format!("{lm}transformer.base_model.model.layers.0.");
    let mut tensors = Vec::new();
    for spec in config.inventory() {
        let name = mert_arch::naming::MusicgenNames::Upstream.from_mlx(&spec.name).unwrap();
        let key = match name.strip_prefix("transformer.layers.0.") {
            _ if name.starts_with("cp_transformer.") => format!("model.{name}"),
            Some(rest) if rest.starts_with("self_attn.") && !rest.contains("out_proj") => continue,
            Some(rest) if spec.role == Role::Linear => {
                let is_changed = rest.starts_with("cross_attention.q") || rest.starts_with("cross_attention.v");
                format!(
                    "{layer}{}",
                    if is_changed { rest.replace(".weight", ".base_layer.weight") } else { rest.into() }
                )
            }
            Some(rest) => format!("{layer}{rest}"),
            None => format!("{lm}{name}"),
        };
        tensors.push((key, make(&spec.shape)));
    }
    tensors.push((format!("{layer}self_attn.in_proj_weight"), make(&[3 * WIDTH, WIDTH])));
    for part in ["q", "v"] {
        let module = format!("{layer}cross_attention.{part}_proj");
        tensors.push((format!("{module}.lora_A.default.weight"), make(&[RANK, WIDTH])));
        tensors.push((format!("{module}.lora_B.default.weight"), make(&[WIDTH, RANK])));
    }
    tensors
}

/// Matrices of 67 MB, a stacked weight of 12 MB and a position table of 16 MB are looked at and converted in 8 MB.
#[test]
fn tensors_are_never_in_memory_as_a_whole() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("finetuned.ckpt");
    write_torch_zip(&path, &tensors()).unwrap();
    assert!(std::fs::metadata(&path).unwrap().len() > 200_000_000);
    for quantize in [None, Some(QuantizeOptions::default())] {
        let options = MusicgenOptions { quantize, ..MusicgenOptions::default() };
        let output = folder.path().join(if options.quantize.is_some() { "quantized" } else { "float" });
        let threads = rayon::ThreadPoolBuilder::new().num_threads(2).build().unwrap();
        MEMORY.reset_peak_usage();
        let before = MEMORY.current_usage_as_mb();
        threads.install(|| {
            let input = RecognizedMusicgen::open(&path).unwrap();
            let conversion = MusicgenConversion::new(input, &options).unwrap();
            conversion.write(&output, false, &|_| {}).unwrap();
        });
        let peak = MEMORY.peak_usage_as_mb() - before;
        assert!(peak < 8.0, "{peak} MB");
    }
}
