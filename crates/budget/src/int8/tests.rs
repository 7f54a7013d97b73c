//! Choices for a tiny model, from measurement to the written file.

use mert_checkpoint::Source;
use mert_convert::{Plan, PlanOptions, write};

use super::study::Int8Study;
use crate::BudgetError;
use crate::audio::{Audio, AudioSource};
use crate::goal::Budget;
use mert_arch::{ComputeType, Int8Exceptions};
use mert_runtime::ConvertedFile;

/// A converted file of the tiny model whose metadata has `exceptions`.
fn write(folder: &tempfile::TempDir, name: &str, exceptions: Option<Int8Exceptions>) -> std::path::PathBuf {
    let source = Source::open(&mert_testkit::fixture("mert-tiny/pytorch_model.bin")).unwrap();
    let plan = Plan::new(&source, &PlanOptions { int8_exceptions: exceptions, ..PlanOptions::default() }).unwrap();
    let path = folder.path().join(name);
    write::safetensors(&plan, &source, &path, false, &|_| {}).unwrap();
    path
}

#[test]
fn from_measurement_to_file() {
    let folder = tempfile::tempdir().unwrap();
    let file = ConvertedFile::open(&write(&folder, "measured.safetensors", None)).unwrap();
    let mut audio = Audio::load_for_file(&AudioSource::BuiltIn, &file).unwrap();
    // Shorter than users' clips for the time that they take.
    audio.calibration.iter_mut().chain(&mut audio.held_out).for_each(|clip| clip.input_values.truncate(9600));
    let study = Int8Study::new(&file, &audio).unwrap();

    // Tighter limits leave fewer multiply-adds to integers, and each holds as measured.
    let mut parts = Vec::new();
    let mut chosen = Vec::new();
    for limits in ["nmse<=3e-2", "nmse<=2e-3", "pooled>=0.9999,nmse<=5e-4", "nmse<=1e-4"] {
        let budget: Budget = limits.parse().unwrap();
        let choice = study.search(budget, &|_| {}).unwrap();
        assert!(budget.used(&choice.report.held_out.worst) <= 1.0, "{limits}: {}", choice.report.held_out);
        let floats = choice.report.modules.iter().filter(|module| module.compute != ComputeType::Int8).count();
        assert_eq!(floats, choice.exceptions.iter().count());
        parts.push(choice.report.int8_multiply_adds);
        chosen.push(choice);
    }
    assert!(parts.is_sorted_by(|a, b| a >= b) && parts[0] > 0.99 && parts[3] < 0.5 * parts[1], "{parts:?}");
    // Limits of another kind: the looser one never leaves fewer to integers.
    let part = |limits: &str| study.search(limits.parse().unwrap(), &|_| {}).unwrap().report.int8_multiply_adds;
    let parts: Vec<f64> = ["frame>=0.985", "frame>=0.99", "frame>=0.995", "frame>=0.998"].map(part).to_vec();
    assert!(parts.is_sorted_by(|a, b| a >= b), "{parts:?}");
    // Predictions are near what is measured: the errors of modules add up.
    for choice in &chosen[1..] {
        let (predicted, measured) = (choice.report.predicted.worst.nmse, choice.report.held_out.worst.nmse);
        assert!((0.4..2.5).contains(&(predicted / measured)), "{predicted:e} {measured:e}");
    }

    // The file that is written is what was measured; with the list of a looser choice, or with none, it is not.
    let path = write(&folder, "chosen.safetensors", Some(chosen[2].exceptions.clone()));
    study.check_file(&path, &chosen[2]).unwrap();
    for (name, exceptions) in [("looser.safetensors", Some(chosen[0].exceptions.clone())), ("none.safetensors", None)] {
        let refused = study.check_file(&write(&folder, name, exceptions), &chosen[2]).unwrap_err();
        assert!(matches!(refused, BudgetError::NotHeld { .. }), "{refused}");
    }
    let refused = study.search("nmse<=1e-12".parse().unwrap(), &|_| {}).unwrap_err().to_string();
    assert!(refused.contains("cannot be held: with every module in f32"), "{refused}");
}
