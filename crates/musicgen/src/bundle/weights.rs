//! The tensors of a bundle: each that is read has the shape and type that the configuration says, and none is left over.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use half::{bf16, f16};
use mert_arch::naming::MusicgenNames;
use mert_arch::{Dtype, Quantization, QuantizationConfig, printable_line};
use mert_linear::{Bytes, Linear};
use safetensors::Dtype as StoredDtype;

use super::config::BundleConfig;
use super::files::{self, Stored};
use crate::{MusicgenError, Result};

/// The tensors of a bundle, with those that have been read.
pub(crate) struct Weights {
    /// The file or index, for messages.
    path: PathBuf,
    tensors: BTreeMap<String, Stored>,
    /// The names in the files. `tensors` has them under those of [`MusicgenNames::Mlx`].
    names: MusicgenNames,
    quantization: Option<QuantizationConfig>,
    read: RefCell<BTreeSet<String>>,
    /// The weights of other bundles, and by the paths of modules the number of the one that is read instead.
    others: Vec<Weights>,
    replaced: BTreeMap<String, usize>,
}

impl Weights {
    /// Opens the weights of a bundle.
    ///
    /// # Errors
    /// [`MusicgenError::Open`] and [`MusicgenError::File`].
    pub(crate) fn open(folder: &Path, config: &BundleConfig) -> Result<Self> {
        let (path, stored) = files::open(folder)?;
        let names = config.names;
        let tensors = stored.into_iter().map(|(name, stored)| (names.to_mlx(&name).unwrap_or(name), stored)).collect();
        Ok(Weights {
            path,
            tensors,
            names,
            quantization: config.quantization.clone(),
            read: RefCell::default(),
            others: Vec::new(),
            replaced: BTreeMap::new(),
        })
    }

    /// Has the linear layers `modules` read from another bundle.
    pub(crate) fn replace(&mut self, other: Weights, modules: &[&str]) {
        let number = self.others.len();
        self.others.push(other);
        self.replaced.extend(modules.iter().map(|module| (module.to_string(), number)));
    }

    /// The weight `(outputs, inputs)` of a linear layer, as it is stored.
    ///
    /// # Errors
    /// [`MusicgenError::MissingTensor`], [`MusicgenError::Tensor`] and [`MusicgenError::Linear`].
    pub(crate) fn linear(&self, module: &str, outputs: usize, inputs: usize) -> Result<Linear> {
        let name = format!("{module}.weight");
        let scales = format!("{module}.scales");
        if let Some(other) = self.replaced.get(module).and_then(|&number| self.others.get(number)) {
            let own = ["weight", "scales", "biases"].map(|part| format!("{module}.{part}"));
            self.read.borrow_mut().extend(own);
            return other.linear(module, outputs, inputs);
        }
        let built = if self.tensors.contains_key(&scales) {
            let quantization = self.quantization(module, &scales)?;
            let fits = quantization.check_inputs(inputs);
            fits.map_err(|reason| MusicgenError::file(&self.path, format!("tensor `{name}`: {reason}")))?;
            let groups = [outputs, quantization.groups(inputs)];
            let (scales, float) = self.finite_floats(&scales, &groups)?;
            let (biases, bias_type) = self.finite_floats(&format!("{module}.biases"), &groups)?;
            if float != bias_type {
                return Err(self.mismatch(&format!("{module}.biases"), bias_type.name(), float.name()));
            }
            let words = [outputs, quantization.packed_columns(inputs)];
            let weight = self.stored(&name, &words)?;
            if weight.dtype != StoredDtype::U32 {
                return Err(self.mismatch(&name, format!("{:?}", weight.dtype), "U32"));
            }
            let [weight, scales, biases] = [weight, scales, biases].map(bytes);
            Linear::quantized(outputs, inputs, quantization, float, weight, scales, biases)
        } else {
            let (weight, dtype) = self.floats(&name, &[outputs, inputs])?;
            Linear::float(outputs, inputs, dtype, bytes(weight))
        };
        built.map_err(|source| MusicgenError::Linear { name, source })
    }

    /// A table of rows, such as an embedding.
    ///
    /// # Errors
    /// Those of [`Weights::linear`].
    pub(crate) fn table(&self, name: &str, shape: &[usize]) -> Result<Linear> {
        let (stored, dtype) = self.floats(name, shape)?;
        let columns = shape.last().copied().unwrap_or(1);
        let rows = shape.iter().product::<usize>() / columns.max(1);
        let table = Linear::float(rows, columns, dtype, bytes(stored));
        table.map_err(|source| MusicgenError::Linear { name: name.to_string(), source })
    }

    /// The values of a vector, widened to f32.
    ///
    /// # Errors
    /// [`MusicgenError::MissingTensor`] and [`MusicgenError::Tensor`].
    pub(crate) fn vector(&self, name: &str, len: usize) -> Result<Vec<f32>> {
        let (stored, dtype) = self.finite_floats(name, &[len])?;
        let bytes = stored.bytes();
        Ok(match dtype {
            Dtype::F32 => bytes.as_chunks().0.iter().map(|&bytes| f32::from_le_bytes(bytes)).collect(),
            Dtype::F16 => bytes.as_chunks().0.iter().map(|&bytes| f16::from_le_bytes(bytes).to_f32()).collect(),
            Dtype::Bf16 => bytes.as_chunks().0.iter().map(|&bytes| bf16::from_le_bytes(bytes).to_f32()).collect(),
        })
    }

    /// Checks that every tensor has been read.
    ///
    /// # Errors
    /// [`MusicgenError::UnknownTensors`].
    pub(crate) fn check_all_read(&self) -> Result<()> {
        let read = self.read.borrow();
        let mut unknown = self.tensors.keys().filter(|name| !read.contains(*name));
        match unknown.next() {
            None => Ok(()),
            Some(first) => Err(MusicgenError::UnknownTensors {
                path: self.path.clone(),
                first: printable_line(first),
                count: 1 + unknown.count(),
            }),
        }
    }

    /// The narrowest type of floats that is stored: of weights, or of scales.
    pub(crate) fn has_half_precision(&self) -> bool {
        self.tensors.values().any(|stored| matches!(stored.dtype, StoredDtype::F16 | StoredDtype::BF16))
    }

    /// The quantization of a layer that has scales.
    fn quantization(&self, module: &str, scales: &str) -> Result<Quantization> {
        let path = self.names.from_mlx(scales).unwrap_or_else(|| scales.to_string());
        let module = path.strip_suffix(".scales").unwrap_or(module);
        let stated = self.quantization.as_ref().and_then(|quantization| quantization.layer(module));
        stated.ok_or_else(|| {
            let reason = format!("tensor `{path}` is there, but config.json states no quantization of `{module}`");
            MusicgenError::file(&self.path, reason)
        })
    }

    /// A tensor of floats.
    fn floats(&self, name: &str, shape: &[usize]) -> Result<(&Stored, Dtype)> {
        let stored = self.stored(name, shape)?;
        let dtype = match stored.dtype {
            StoredDtype::F32 => Dtype::F32,
            StoredDtype::F16 => Dtype::F16,
            StoredDtype::BF16 => Dtype::Bf16,
            other => return Err(self.mismatch(name, format!("{other:?}"), "F32, F16 or BF16")),
        };
        Ok((stored, dtype))
    }

    /// A tensor of floats without an infinity or NaN: a vector, scales or biases. Weights that are floats are not looked through,
    /// as that would read all of them.
    fn finite_floats(&self, name: &str, shape: &[usize]) -> Result<(&Stored, Dtype)> {
        let (stored, dtype) = self.floats(name, shape)?;
        let bytes = stored.bytes();
        // All bits of the exponent are set.
        let is_none = |bits: u16, exponent: u16| bits & exponent == exponent;
        let halves = || bytes.as_chunks().0.iter().map(|&bytes| u16::from_le_bytes(bytes));
        let found = match dtype {
            Dtype::F32 => bytes.as_chunks().0.iter().position(|&bytes| !f32::from_le_bytes(bytes).is_finite()),
            Dtype::F16 => halves().position(|bits| is_none(bits, 0x7c00)),
            Dtype::Bf16 => halves().position(|bits| is_none(bits, 0x7f80)),
        };
        match found {
            None => Ok((stored, dtype)),
            Some(at) => {
                let reason = format!(
                    "tensor `{name}` has an infinity or NaN at {at}: the file is damaged; convert the model again with mert-convert"
                );
                Err(MusicgenError::file(&self.path, reason))
            }
        }
    }

    /// A tensor of this shape.
    fn stored(&self, name: &str, shape: &[usize]) -> Result<&Stored> {
        let Some(stored) = self.tensors.get(name) else {
            let nearest = self.tensors.keys().map(|other| (strsim::normalized_damerau_levenshtein(name, other), other));
            let nearest = nearest.max_by(|a, b| a.0.total_cmp(&b.0)).filter(|(similarity, _)| *similarity > 0.5);
            let hint = nearest.map(|(_, nearest)| format!(" (the nearest name is `{}`)", printable_line(nearest)));
            let (path, name) = (self.path.clone(), name.to_string());
            return Err(MusicgenError::MissingTensor { path, name, hint: hint.unwrap_or_default() });
        };
        if stored.shape != shape {
            return Err(self.mismatch(name, format!("{:?}", stored.shape), format!("{shape:?}")));
        }
        self.read.borrow_mut().insert(name.to_string());
        Ok(stored)
    }

    fn mismatch(&self, name: &str, found: impl Into<String>, expected: impl Into<String>) -> MusicgenError {
        let (path, name) = (self.path.clone(), name.to_string());
        MusicgenError::Tensor { path, name, found: found.into(), expected: expected.into() }
    }
}

/// The bytes of a stored tensor.
fn bytes(stored: &Stored) -> Bytes {
    // The header was checked against the file's length, so that there is no other case.
    Bytes::mapped(stored.file.clone(), stored.range.clone()).unwrap_or_else(|| Vec::new().into())
}
