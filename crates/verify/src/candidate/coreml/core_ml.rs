//! Core ML on a Mac, through bindings to Apple's framework (<https://developer.apple.com/documentation/coreml>). All
//! unsafe code of packages is here.

use std::collections::BTreeMap;
use std::ffi::c_void;
use std::fs;
use std::path::{Path, PathBuf};
use std::ptr::NonNull;
use std::slice;
use std::sync::mpsc;

use block2::RcBlock;
use ndarray::ArrayD;
use objc2::rc::{Retained, autoreleasepool};
use objc2::runtime::{AnyObject, ProtocolObject};
use objc2::{AnyThread, available};
use objc2_core_ml::{
    MLComputeUnits, MLDictionaryFeatureProvider, MLFeatureProvider, MLFeatureValue, MLModel, MLModelConfiguration,
    MLMultiArray, MLMultiArrayDataType,
};
use objc2_foundation::{NSArray, NSDictionary, NSError, NSInteger, NSNumber, NSString, NSURL, ns_string};

use super::strided::{Element, Layout};
use crate::candidate::options::ComputeUnits;

/// The named inputs or outputs of a prediction.
type Features = ProtocolObject<dyn MLFeatureProvider>;

/// A Core ML package, compiled for this machine and loaded.
pub(crate) struct CoreMl {
    // Before the folder, since fields are dropped in order: the model has files of the folder open.
    model: Retained<MLModel>,
    _compiled: CompiledModel,
}

impl CoreMl {
    /// Compiles the package into a temporary folder and loads it for these compute units. The folder is
    /// removed when the value is dropped.
    ///
    /// # Errors
    /// A sentence for a macOS older than 13, and if Core ML cannot compile or load the package.
    pub(crate) fn open(package: &Path, units: ComputeUnits) -> Result<Self, String> {
        if !available!(macos = 13.0) {
            return Err("running Core ML packages needs macOS 13 or later: update macOS".to_owned());
        }
        autoreleasepool(|_| {
            let compiled = CompiledModel::of(package)?;
            let model = load(&compiled.folder, units).map_err(|reason| {
                let package = package.display();
                format!("Core ML cannot load {package} for compute units `{units}`: {reason}; try `cpu`")
            })?;
            Ok(Self { model, _compiled: compiled })
        })
    }

    /// Runs the model on a clip, its input `input_values` of shape (1, samples). Returns the named outputs in f32,
    /// whatever their type, each in the shape that the model gives it.
    ///
    /// # Errors
    /// A sentence if the clip is empty, if the model does not accept a clip of this length, and if it has no such
    /// output or the output is not a MultiArray.
    pub(crate) fn predict(
        &self,
        input_values: &[f32],
        outputs: &[&str],
    ) -> Result<BTreeMap<String, ArrayD<f32>>, String> {
        if input_values.is_empty() {
            return Err("Core ML cannot run the model on no samples: give a longer clip".to_owned());
        }
        autoreleasepool(|_| {
            let features = self.run(input_values).map_err(|reason| {
                let samples = input_values.len();
                format!(
                    "Core ML cannot run the model: {reason}; check that it was converted for an input `input_values` \
                     of shape (1, {samples})"
                )
            })?;
            outputs.iter().map(|&name| Ok((name.to_owned(), output(&features, name)?))).collect()
        })
    }

    #[allow(unsafe_code)]
    fn run(&self, input_values: &[f32]) -> Result<Retained<Features>, String> {
        let input = input_features(input_values)?;
        // SAFETY: the input is of the type that the method expects. It checks the names, types and shapes itself.
        unsafe { self.model.predictionFromFeatures_error(ProtocolObject::from_ref(&*input)) }.map_err(|e| reason(&e))
    }
}

/// The folder of a compiled model, removed on drop.
struct CompiledModel {
    folder: PathBuf,
}

impl CompiledModel {
    fn of(package: &Path) -> Result<Self, String> {
        compile(package).map(|folder| Self { folder }).map_err(|reason| {
            let package = package.display();
            format!("Core ML cannot compile {package}: {reason}; check that it is a complete .mlpackage")
        })
    }
}

impl Drop for CompiledModel {
    fn drop(&mut self) {
        // macOS clears its temporary folders itself, so a failure to remove this one is ignored.
        let _ = fs::remove_dir_all(&self.folder);
    }
}

// The asynchronous way to compile calls back on a queue that Core ML chooses. If that were this thread's queue, waiting
// for the call here would block forever.
#[expect(deprecated)]
#[allow(unsafe_code)]
fn compile(package: &Path) -> Result<PathBuf, String> {
    let url = folder_url(package)?;
    // SAFETY: the URL is a file URL, as the method requires. Core ML checks the file.
    let compiled = unsafe { MLModel::compileModelAtURL_error(&url) }.map_err(|e| reason(&e))?;
    compiled.to_file_path().ok_or_else(|| "the compiled model has no path".to_owned())
}

#[allow(unsafe_code)]
fn load(compiled: &Path, units: ComputeUnits) -> Result<Retained<MLModel>, String> {
    let url = folder_url(compiled)?;
    // SAFETY: the method has no requirements.
    let configuration = unsafe { MLModelConfiguration::new() };
    // SAFETY: only this function uses the configuration, and macOS 13 supports all of the units.
    unsafe { configuration.setComputeUnits(compute_units(units)) };
    // SAFETY: the URL is of a compiled model, which Core ML checks.
    unsafe { MLModel::modelWithContentsOfURL_configuration_error(&url, &configuration) }.map_err(|e| reason(&e))
}

fn compute_units(units: ComputeUnits) -> MLComputeUnits {
    match units {
        ComputeUnits::All => MLComputeUnits::All,
        ComputeUnits::Cpu => MLComputeUnits::CPUOnly,
        ComputeUnits::Gpu => MLComputeUnits::CPUAndGPU,
        ComputeUnits::Ane => MLComputeUnits::CPUAndNeuralEngine,
    }
}

fn folder_url(folder: &Path) -> Result<Retained<NSURL>, String> {
    NSURL::from_directory_path(folder).ok_or_else(|| format!("invalid path `{}`", folder.display()))
}

#[allow(unsafe_code)]
fn input_features(input_values: &[f32]) -> Result<Retained<MLDictionaryFeatureProvider>, String> {
    let array = input_array(input_values)?;
    // SAFETY: the array keeps its memory alive.
    let value = unsafe { MLFeatureValue::featureValueWithMultiArray(&array) };
    let value: &AnyObject = &value;
    let dictionary = NSDictionary::from_slices(&[ns_string!("input_values")], &[value]);
    // SAFETY: the dictionary has a feature value under each name, as the method requires.
    unsafe { MLDictionaryFeatureProvider::initWithDictionary_error(MLDictionaryFeatureProvider::alloc(), &dictionary) }
        .map_err(|e| reason(&e))
}

/// Makes an array of shape (1, samples) with a copy of the samples, because Core ML may keep it.
#[allow(unsafe_code)]
fn input_array(input_values: &[f32]) -> Result<Retained<MLMultiArray>, String> {
    let samples = input_values.len();
    let mut memory = input_values.to_vec();
    let start = NonNull::from(memory.as_mut_slice()).cast();
    // The block owns the memory, and the array the block.
    let release = RcBlock::new(move |_: NonNull<c_void>| {
        let _ = &memory;
    });
    // SAFETY: the memory holds as many f32 as the shape and the strides reach, is aligned for them, has
    // a fixed address, and is freed with the block, which the array keeps until it is freed itself.
    unsafe {
        MLMultiArray::initWithDataPointer_shape_dataType_strides_deallocator_error(
            MLMultiArray::alloc(),
            start,
            &numbers([1, samples]),
            MLMultiArrayDataType::Float32,
            &numbers([samples, 1]),
            Some(&release),
        )
    }
    .map_err(|e| reason(&e))
}

/// Reads the output of this name.
fn output(features: &Features, name: &str) -> Result<ArrayD<f32>, String> {
    let array = multi_array(features, name)?;
    layout(&array).and_then(|layout| read(&array, layout)).map_err(|e| format!("Core ML's output `{name}`: {e}"))
}

#[allow(unsafe_code)]
fn multi_array(features: &Features, name: &str) -> Result<Retained<MLMultiArray>, String> {
    // SAFETY: the method returns nothing for an unknown name.
    let value = unsafe { features.featureValueForName(&NSString::from_str(name)) };
    // SAFETY: the method returns nothing for a value of another type.
    let array = value.and_then(|value| unsafe { value.multiArrayValue() });
    array.ok_or_else(|| {
        let names = names(features).join(", ");
        format!("the Core ML model has no output array `{name}`: its outputs are {names}; convert the model again")
    })
}

#[allow(unsafe_code)]
fn names(features: &Features) -> Vec<String> {
    // SAFETY: the call only reads a property.
    let names = unsafe { features.featureNames() };
    let mut names: Vec<String> = names.allObjects().iter().map(|name| name.to_string()).collect();
    names.sort_unstable();
    names
}

#[allow(unsafe_code)]
fn layout(array: &MLMultiArray) -> Result<Layout, String> {
    // SAFETY: these calls only read properties.
    let (element, shape, strides) = unsafe { (array.dataType(), array.shape(), array.strides()) };
    Ok(Layout { element: element_type(element)?, shape: extents(&shape)?, strides: extents(&strides)? })
}

fn element_type(element: MLMultiArrayDataType) -> Result<Element, String> {
    match element {
        MLMultiArrayDataType::Float16 => Ok(Element::F16),
        MLMultiArrayDataType::Float32 => Ok(Element::F32),
        MLMultiArrayDataType::Float64 => Ok(Element::F64),
        MLMultiArrayDataType::Int8 => Ok(Element::I8),
        MLMultiArrayDataType::Int32 => Ok(Element::I32),
        MLMultiArrayDataType(other) => {
            Err(format!("its element type {other:#x} is not supported; convert the model with outputs of float32"))
        }
    }
}

#[allow(unsafe_code)]
fn read(array: &MLMultiArray, layout: Layout) -> Result<ArrayD<f32>, String> {
    // The handler expects a non-null pointer, which that of an empty array need not be.
    if layout.is_empty() {
        return layout.read(&[]);
    }
    // Apple does not say whether the handler is called before the method returns, so it owns what it needs.
    let (sender, receiver) = mpsc::channel();
    let handler = RcBlock::new(move |start: NonNull<c_void>, len: NSInteger| {
        let len = usize::try_from(len).unwrap_or_default();
        // SAFETY: Core ML passes the array's memory and its length in bytes, and does not change it until
        // the handler returns.
        let bytes = unsafe { slice::from_raw_parts(start.cast::<u8>().as_ptr(), len) };
        let _ = sender.send(layout.read(bytes));
    });
    // SAFETY: the handler has the arguments that the method passes, borrows nothing and may be called
    // on any thread.
    unsafe { array.getBytesWithHandler(&handler) };
    // The sender is dropped with the last copy of the handler, so that `recv` returns even if it is never called.
    drop(handler);
    receiver.recv().unwrap_or_else(|_| Err("Core ML gave no access to its memory; try other compute units".to_owned()))
}

fn numbers<const N: usize>(values: [usize; N]) -> Retained<NSArray<NSNumber>> {
    NSArray::from_retained_slice(&values.map(NSNumber::new_usize))
}

fn extents(numbers: &NSArray<NSNumber>) -> Result<Vec<usize>, String> {
    let extent = |number: Retained<NSNumber>| {
        let value = number.as_isize();
        usize::try_from(value).map_err(|_| format!("its shape or strides have {value}, expected no negative number"))
    };
    numbers.iter().map(extent).collect()
}

/// Core ML's description of an error, without the full stop, for use inside a sentence.
fn reason(error: &NSError) -> String {
    error.localizedDescription().to_string().trim_end_matches('.').to_owned()
}
