//! The memory of a conversion, which does not grow with the size of the tensors.
//!
//! The test is alone in its program, whose allocator counts. Mapped files are not allocated: they belong to the page cache.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)]

use std::collections::BTreeMap;

use mert_arch::naming::{NamingScheme, Variant};
use mert_arch::{Config, Dtype, Layout, Quantization, QuantizationMode};
use mert_checkpoint::Source;
use mert_convert::write::{
    ByteSize, CoreMlOptions, DeploymentTarget, Gguf, ModelFolder, Target, WriteJob, no_inspection,
};
use mert_convert::{Compression, Plan, PlanOptions, PreprocessorOptions, QuantizeOptions, write};
use mert_testkit::{Tensor, fixture, sharp_checkpoint, write_torch_zip};
use peak_alloc::PeakAlloc;
use tempfile::TempDir;

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

/// The same tensors under fairseq's names, with queries, keys and values in one tensor.
fn fairseq_names(tensors: Vec<(String, Tensor)>) -> Vec<(String, Tensor)> {
    let table = NamingScheme::Fairseq.table(Variant::default());
    let (mut renamed, mut stacked) = (Vec::new(), BTreeMap::<String, [Option<Tensor>; 3]>::new());
    for (name, tensor) in tensors {
        let third = ["q_proj", "k_proj", "v_proj"].iter().position(|projection| name.contains(projection));
        match third {
            Some(third) => {
                let kind = name.rsplit('.').next().unwrap();
                let layer = name.split(".attention.").next().unwrap();
                stacked.entry(format!("{layer}.self_attn.in_proj_{kind}")).or_default()[third] = Some(tensor);
            }
            None => renamed.push((table.from_hugging_face(&name).unwrap().name, tensor)),
        }
    }
    for (name, parts) in stacked {
        let parts: Vec<Tensor> = parts.into_iter().map(Option::unwrap).collect();
        let mut shape = parts[0].shape.clone();
        shape[0] *= 3;
        renamed.push((name, Tensor { shape, values: parts.into_iter().flat_map(|part| part.values).collect() }));
    }
    renamed
}

/// A model with matrices of 32 MB and a positional convolution of 17 MB is converted in 8 MB.
#[test]
fn tensors_are_never_in_memory_as_a_whole() {
    let folder = TempDir::new().unwrap();
    let text = std::fs::read_to_string(fixture("containers/config.json")).unwrap();
    let mut config = Config { hidden_size: 512, intermediate_size: 16_384, ..Config::from_json(&text).unwrap() };
    (config.num_hidden_layers, config.num_attention_heads) = (1, 8);
    (config.num_conv_pos_embeddings, config.num_conv_pos_embedding_groups) = (128, 8);
    std::fs::write(folder.path().join("config.json"), config.to_json()).unwrap();
    let checkpoint = folder.path().join("pytorch_model.bin");
    write_torch_zip(&checkpoint, &sharp_checkpoint(&config, 1)).unwrap();
    assert!(std::fs::metadata(&checkpoint).unwrap().len() > 80_000_000);

    let output = folder.path().join("out.safetensors");
    for (threads, dtype, layout) in
        [(1, Dtype::F16, Layout::Mlx), (2, Dtype::Bf16, Layout::Torch), (4, Dtype::F32, Layout::Mlx)]
    {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        MEMORY.reset_peak_usage();
        let before = MEMORY.current_usage();
        pool.install(|| {
            let source = Source::open(&checkpoint).unwrap();
            let plan = Plan::new(&source, &PlanOptions { layout, dtype, ..PlanOptions::default() }).unwrap();
            write::safetensors(&plan, &source, &output, true, &|_| {}).unwrap();
        });
        let peak = MEMORY.peak_usage() - before;
        println!("{threads} threads, {dtype}, {layout}: {peak} bytes");
        assert!(peak < 8 << 20, "{peak} bytes at the peak");
    }
    // fairseq's names, with queries, keys and values stacked: each third is read where it lies.
    let stacked = folder.path().join("fairseq.pt");
    write_torch_zip(&stacked, &fairseq_names(sharp_checkpoint(&config, 1))).unwrap();
    let pool = rayon::ThreadPoolBuilder::new().num_threads(2).build().unwrap();
    MEMORY.reset_peak_usage();
    let before = MEMORY.current_usage();
    pool.install(|| {
        let source = Source::open(&stacked).unwrap();
        let plan = Plan::new(&source, &PlanOptions { dtype: Dtype::F32, ..PlanOptions::default() }).unwrap();
        assert!(plan.steps.iter().any(|step| step.inputs[0].shown() == "encoder.layers.0.fc1.weight"));
        write::safetensors(&plan, &source, &output, true, &|_| {}).unwrap();
    });
    let peak = MEMORY.peak_usage() - before;
    println!("2 threads, fairseq's names: {peak} bytes");
    assert!(peak < 8 << 20, "{peak} bytes at the peak");

    // Quantized, in blocks of ggml, and in shards smaller than a matrix.
    for (name, bits) in [("out.gguf", 4), ("out.gguf", 8), ("shards", 4)] {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(2).build().unwrap();
        MEMORY.reset_peak_usage();
        let before = MEMORY.current_usage();
        pool.install(|| {
            let source = Source::open(&checkpoint).unwrap();
            let shards = || ModelFolder { max_shard_size: ByteSize(1 << 20) };
            let target: Box<dyn Target> = if name == "shards" { Box::new(shards()) } else { Box::new(Gguf) };
            let default = Quantization::new(QuantizationMode::Affine, bits, 32).unwrap();
            let quantize = Some(QuantizeOptions { default, ..QuantizeOptions::default() });
            let preprocessor = PreprocessorOptions { do_normalize: Some(true), ..PreprocessorOptions::default() };
            let layout = target.layout(None).unwrap();
            let options = PlanOptions { layout, quantize, preprocessor, ..PlanOptions::default() };
            let plan = target.refine(Plan::new(&source, &options).unwrap()).unwrap();
            let output = &folder.path().join(name);
            let job = WriteJob { source: &source, output, force: true, on_step: &|_| {}, inspect: &no_inspection };
            target.prepare(&plan).unwrap().write(&job).unwrap();
        });
        let peak = MEMORY.peak_usage() - before;
        println!("2 threads, {bits} bits in {name}: {peak} bytes");
        assert!(peak < 8 << 20, "{peak} bytes at the peak");
    }

    let output = folder.path().join("out.mlpackage");
    let compress = |scheme: &str| Compression::new(scheme.parse().unwrap(), None).ok();
    for (threads, dtype, compress) in [
        (1, Dtype::F16, None),
        (4, Dtype::F32, None),
        (2, Dtype::F16, compress("uint4")),
        (1, Dtype::F16, compress("palettize4")),
    ] {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        MEMORY.reset_peak_usage();
        let before = MEMORY.current_usage();
        pool.install(|| {
            let source = Source::open(&checkpoint).unwrap();
            let options = PlanOptions { layout: Layout::Torch, dtype, compress, ..PlanOptions::default() };
            let plan = Plan::new(&source, &options).unwrap();
            let minimum_deployment = DeploymentTarget::Ios18;
            let options = CoreMlOptions { minimum_deployment, ..CoreMlOptions::default() };
            let program = write::coreml_program(&plan, &options).unwrap();
            write::coreml(&program, &source, &output, true, &|_| {}).unwrap();
        });
        let peak = MEMORY.peak_usage() - before;
        println!("{threads} threads, {dtype}, {compress:?}, Core ML package: {peak} bytes");
        assert!(peak < 8 << 20, "{peak} bytes at the peak");
    }
}
