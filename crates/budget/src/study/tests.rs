//! Choices for a tiny checkpoint that PyTorch saved, from measurement to the written file.

use mert_arch::{Quantization, QuantizationMode};
use mert_checkpoint::Source;
use mert_convert::{Plan, QuantizeOptions, write};

use super::*;
use crate::audio::AudioSource;
use crate::goal::{Budget, ByteSize};

/// The clips of these tests: shorter than users' for the time that they take.
const SECONDS: f64 = 0.4;

/// 4 of the 12 layers, in groups of 32.
fn options() -> PlanOptions {
    let default = Quantization::new(QuantizationMode::Affine, 4, 32).unwrap();
    let only = ["feature_projection.*", "*.layers.0.*", "*.layers.5.*", "*.layers.11.*"].map(String::from).to_vec();
    PlanOptions {
        quantize: Some(QuantizeOptions { default, only, ..QuantizeOptions::default() }),
        ..PlanOptions::default()
    }
}

fn source() -> Source {
    Source::open(&mert_testkit::fixture("mert-tiny/pytorch_model.bin")).unwrap()
}

fn error(limits: &str) -> Goal {
    Goal::Error(limits.parse().unwrap())
}

fn size(bytes: u64) -> Goal {
    Goal::Size(ByteSize(bytes))
}

#[test]
fn from_measurement_to_file() {
    let source = source();
    let subject = Subject::new(&source, &options()).unwrap();
    assert_eq!(subject.groups().len(), 1 + 3 * 6);
    let audio = Audio::load_seconds(&AudioSource::BuiltIn, subject.plan(), SECONDS).unwrap();
    let study = Study::new(&subject, &audio, &|_| {}).unwrap();

    // Tighter limits take more bytes, and each holds as measured.
    let mut sizes = Vec::new();
    for limits in ["nmse<=1e-2", "pooled>=0.999,frame>=0.998,nmse<=2e-3", "nmse<=1e-4"] {
        let Chosen { report, choice, .. } = study.search(error(limits), &|_| {}).unwrap();
        let budget: Budget = limits.parse().unwrap();
        assert!(budget.used(&report.held_out.worst) <= 1.0, "{limits}: {}", report.held_out);
        assert_eq!(study.measure(&audio.held_out, std::slice::from_ref(&choice)).unwrap(), [report.held_out]);
        let shares: f64 = report.layers.iter().map(|layer| layer.share).sum::<f64>() + report.float_share;
        assert!((shares - 1.0).abs() < 1e-6, "{shares}");
        sizes.push(report.bytes);
    }
    assert!(sizes.is_sorted() && sizes[0] < sizes[2], "{sizes:?}");

    // The file has the size that was told, is what was measured, and another file is not.
    let chosen = study.search(size(sizes[1]), &|_| {}).unwrap();
    assert!(chosen.report.bytes <= sizes[1] && chosen.report.bytes > sizes[0], "{} {sizes:?}", chosen.report.bytes);
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, options: &PlanOptions| {
        let path = folder.path().join(name);
        let plan = Plan::new(&source, options).unwrap();
        write::safetensors(&plan, &source, &path, false, &|_| {}).unwrap();
        path
    };
    let path = write("chosen.safetensors", &chosen.options);
    assert_eq!(std::fs::metadata(&path).unwrap().len(), chosen.report.bytes);
    study.check_file(&path, &chosen).unwrap();
    let fewer = study.search(size(sizes[0]), &|_| {}).unwrap();
    let path = write("fewer.safetensors", &fewer.options);
    let refused = study.check_file(&path, &chosen).unwrap_err();
    assert!(matches!(refused, BudgetError::NotHeld { .. }), "{refused}");
    let section = chosen.report.to_markdown();
    assert!(section.contains("| encoder.layers.0.attention.q_proj | "), "{section}");

    // What cannot be done is refused with the figures.
    let refused = study.search(error("nmse<=1e-9"), &|_| {}).unwrap_err().to_string();
    assert!(refused.contains("cannot be held: with every layer in f16") && refused.contains("NMSE"), "{refused}");
    let smallest = subject.file_len(&[0; 19]).unwrap() as u64;
    let refused = study.search(size(smallest - 1), &|_| {}).unwrap_err().to_string();
    assert!(refused.contains(&format!("it has {smallest} bytes")), "{refused}");
    assert_eq!(study.search(size(smallest), &|_| {}).unwrap().choice, [0; 19]);
    let largest = study.search(size(u64::MAX / 4), &|_| {}).unwrap();
    assert_eq!(largest.choice, [6; 19]);
}

#[test]
fn any_number_of_threads_chooses_the_same() {
    let source = source();
    let mut options = options();
    if let Some(quantize) = &mut options.quantize {
        quantize.only = vec!["feature_projection.*".into(), "*.layers.11.*".into()];
    }
    let subject = Subject::new(&source, &options).unwrap();
    let audio = Audio::load_seconds(&AudioSource::BuiltIn, subject.plan(), SECONDS).unwrap();
    let run = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| {
            let study = Study::new(&subject, &audio, &|_| {}).unwrap();
            let report = study.search(error("nmse<=1e-3"), &|_| {}).unwrap().report;
            (study.sensitivity, report)
        })
    };
    let one = run(1);
    assert_eq!(one, run(3));
    // The layers below a quantized one do not change.
    let below = one.0.layout.range(0, 10);
    assert!(one.0.groups[0].iter().flat_map(|losses| &losses[below.clone()]).all(|&loss| loss == 0.0));
}

#[test]
fn a_model_without_layers_to_choose_for_is_refused() {
    let source = source();
    let mut options = options();
    if let Some(quantize) = &mut options.quantize {
        quantize.default = Quantization::new(QuantizationMode::Affine, 4, 128).unwrap();
        quantize.only = vec!["*.attention.*".into()];
    }
    let subject = Subject::new(&source, &options).unwrap();
    let audio = Audio::load_seconds(&AudioSource::BuiltIn, subject.plan(), SECONDS).unwrap();
    let Err(refused) = Study::new(&subject, &audio, &|_| {}) else { panic!("layers of width 64 in groups of 128") };
    assert!(refused.to_string().contains("groups of 128"), "{refused}");
}
