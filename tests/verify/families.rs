//! Every family and form of `fixtures/families/`: converted, run by both engines and judged against its own transformers
//! class, honest and with the defects of its mechanisms.

mod defects;

use std::path::{Path, PathBuf};

use mert_arch::{Dtype, FeatureExtractorNorm, Layout, ModelConfig};
use mert_testkit::{ConvertedModel, FamilyFixture};
use mert_verify::Check;
use mert_verify::candidate::ComputeOptions;
use mert_verify::gate::{CompareOptions, ModelVerdict};
use tempfile::TempDir;

use crate::common::convert;
use defects::{DEFECTS, Defect};

/// The verdict on a converted file of `family`, with every hidden state compared.
fn judge(family: &FamilyFixture, model: &Path, compute: Option<Dtype>, isolate: bool) -> ModelVerdict {
    let check = Check {
        model: model.to_path_buf(),
        references: vec![family.reference()],
        compute: ComputeOptions { dtype: compute.map(Into::into), ..ComputeOptions::default() },
        compare: CompareOptions { isolate, ..CompareOptions::default() },
        ..Check::default()
    };
    check.run().unwrap_or_else(|error| panic!("{}: {error}", family.name))
}

/// The largest NMSE of the first comparison, infinite if a hidden state could not be measured.
fn worst_nmse(verdict: &ModelVerdict) -> f64 {
    let layers = &verdict.comparisons[0].layers;
    layers.iter().map(|layer| layer.metrics.as_ref().map_or(f64::INFINITY, |metrics| metrics.nmse)).fold(0.0, f64::max)
}

fn converted(family: &FamilyFixture, folder: &TempDir, dtype: Dtype, layout: Layout) -> PathBuf {
    convert(&family.checkpoint(folder.path()).unwrap(), folder, dtype, layout)
}

#[test]
fn every_family_has_its_forms_among_the_fixtures() {
    let fixtures = FamilyFixture::all();
    for family in ModelConfig::all() {
        let of_family = || fixtures.iter().map(|fixture| &fixture.config).filter(|c| c.family() == family.names());
        assert!(of_family().count() > 0, "no fixture of `{}`", family.names().model_type);
        // MERT's post-LN form is `mert-tiny`; data2vec has one form only.
        if !matches!(family, ModelConfig::Mert | ModelConfig::Data2VecAudio(_)) {
            for (pre_norm, norm) in [(false, FeatureExtractorNorm::Group), (true, FeatureExtractorNorm::Layer)] {
                let found = of_family().any(|c| (c.do_stable_layer_norm, c.feat_extract_norm) == (pre_norm, norm));
                assert!(found, "`{}`: pre-LN {pre_norm}, {norm:?}", family.names().model_type);
            }
        }
    }
}

#[test]
fn every_family_agrees_with_its_own_class() {
    let folder = TempDir::new().unwrap();
    for family in FamilyFixture::all() {
        for (dtype, layout) in [(Dtype::F32, Layout::Torch), (Dtype::F32, Layout::Mlx), (Dtype::F16, Layout::Mlx)] {
            let file = converted(&family, &folder, dtype, layout);
            for isolate in [false, true] {
                let verdict = judge(&family, &file, None, isolate);
                let (name, worst) = (&family.name, worst_nmse(&verdict));
                assert!(verdict.passed(), "{name} {dtype} {layout}, isolated {isolate}: {verdict:#?}");
                // The two generated fixtures have no states for f16 weights; what f16 costs them is judged.
                let limit = if dtype == Dtype::F32 || verdict.structure_judged() { 1e-9 } else { 2e-5 };
                assert!(worst <= limit, "{name} {dtype} {layout}, isolated {isolate}: {worst:e}");
                println!("{name} | {dtype} | {layout} | {} | {worst:.1e}", if isolate { "isolated" } else { "" });
            }
        }
    }
}

/// Half-precision arithmetic is candle's, so this is the other engine.
#[test]
fn every_family_computes_in_half_precision() {
    let folder = TempDir::new().unwrap();
    for family in FamilyFixture::all() {
        let file = converted(&family, &folder, Dtype::F16, Layout::Mlx);
        let verdict = judge(&family, &file, Some(Dtype::F16), false);
        println!("{} | f16 arithmetic | {:.1e}", family.name, worst_nmse(&verdict));
        assert!(verdict.passed(), "{}: {verdict:#?}", family.name);
    }
}

#[test]
fn every_defect_of_a_family_fails() {
    let folder = TempDir::new().unwrap();
    let mut survivors = Vec::new();
    for family in FamilyFixture::all() {
        let defects: Vec<&Defect> = DEFECTS.iter().filter(|defect| (defect.applies)(&family.config)).collect();
        assert!(defects.len() >= 6, "{}: {} defects", family.name, defects.len());
        for (dtype, layout) in [(Dtype::F32, Layout::Torch), (Dtype::F16, Layout::Mlx)] {
            let honest = ConvertedModel::read(&converted(&family, &folder, dtype, layout)).unwrap();
            for defect in &defects {
                let mut model = honest.clone();
                (defect.make)(&mut model);
                let mutant = folder.path().join("mutant.safetensors");
                model.write(&mutant).unwrap();
                let verdict = judge(&family, &mutant, None, false);
                let failed = verdict.comparisons.iter().any(|comparison| !comparison.passed());
                println!("{} | {dtype} | {} | {:.1e}", family.name, defect.name, worst_nmse(&verdict));
                // Rounding alone is less sharp; a file is judged by it only where no states for f16 weights are known.
                if !failed && verdict.structure_judged() {
                    survivors.push(format!("{} {dtype}: {} {:e}", family.name, defect.name, worst_nmse(&verdict)));
                }
            }
        }
    }
    assert!(survivors.is_empty(), "{}", survivors.join("\n"));
}

/// A defect in one layer, or in what the layers share, is attributed to what has it.
#[test]
fn isolation_finds_the_layer_at_fault() {
    let folder = TempDir::new().unwrap();
    for (name, tensor, blamed) in [
        ("wavlm", "encoder.layers.1.attention.gru_rel_pos_const", vec![2]),
        // The table is layer 0's, and every layer uses it.
        ("wavlm", "encoder.layers.0.attention.rel_attn_embed.weight", vec![1, 2, 3]),
        ("wavlm-large", "encoder.layers.2.attention.gru_rel_pos_linear.bias", vec![3]),
        ("wavlm-large", "encoder.layers.0.attention.rel_attn_embed.weight", vec![1, 2, 3]),
        ("data2vec-audio", "encoder.pos_conv_embed.layers.3.conv.weight", vec![0]),
        ("hubert-batch-norm", "encoder.pos_conv_embed.batch_norm.running_mean", vec![0]),
        ("mert-330m", "encoder.layers.0.final_layer_norm.bias", vec![1]),
    ] {
        let family = FamilyFixture::named(name);
        let mut model = ConvertedModel::read(&converted(&family, &folder, Dtype::F32, Layout::Mlx)).unwrap();
        model.tensor(tensor).values.iter_mut().enumerate().for_each(|(i, value)| *value *= 0.8 + 0.1 * (i % 5) as f32);
        let mutant = folder.path().join("mutant.safetensors");
        model.write(&mutant).unwrap();
        let verdict = judge(&family, &mutant, None, true);
        let failed = verdict.comparisons[0].layers.iter().filter(|layer| !layer.passed());
        assert_eq!(failed.map(|layer| layer.layer).collect::<Vec<_>>(), blamed, "{name}: {tensor}");
    }
}
