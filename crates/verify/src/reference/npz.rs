//! References as `.npz` files: their arrays and shapes, and the files that an argument names.

use std::path::{Path, PathBuf};

use mert_arch::Dtype;
use ndarray::{Array1, Array3, ArrayD, Axis, Ix3};

use super::Reference;
use crate::npz::{self, Archive, flatten_clip};
use crate::{Result, VerifyError};

/// The name of the array of layer indices that `mert-verify hidden-states` writes. A file with it holds a candidate's
/// output and is not accepted as a reference.
pub const CANDIDATE_LAYERS: &str = "candidate_layers";

impl Reference {
    /// Reads a reference: a `.npz` with `input_values` `(N,)` or `(1, N)` and `hidden_states` `(layers + 1, T, width)`,
    /// both f32, as written by `numpy.savez`; a batch axis of 1 may precede or follow the layers. `hidden_states_f16` and
    /// `hidden_states_bf16`, and those of quantized weights, such as `hidden_states_f16_q4g64`, are optional.
    ///
    /// # Errors
    /// [`VerifyError::Read`] or [`VerifyError::Array`].
    pub fn read(path: &Path) -> Result<Self> {
        let mut archive = Archive::open(path)?;
        if archive.has(CANDIDATE_LAYERS) {
            let reason = "it was written by `mert-verify hidden-states`: a converted model's own output proves nothing; \
                          a reference holds what PyTorch returned";
            return Err(VerifyError::array(path, reason));
        }
        let is_quantized = |name: &&str| {
            Dtype::ALL
                .iter()
                .any(|&float| name.strip_prefix(&rounded_name(float)).is_some_and(|rest| rest.starts_with('_')))
        };
        let quantized: Vec<String> = archive.names().filter(is_quantized).map(str::to_string).collect();
        let input_values = flatten_clip(path, archive.require("input_values")?)?;
        let hidden_states = three_dimensional(path, "hidden_states", archive.require("hidden_states")?)?;
        let name = path.display().to_string();
        let mut reference =
            Reference { name, input_values, hidden_states, rounded: Default::default(), quantized: Default::default() };
        let shape = reference.hidden_states.dim();
        let mut optional = |name: &str| {
            let Some(array) = archive.get(name)? else { return Ok(None) };
            let array = three_dimensional(path, name, array)?;
            if array.dim() != shape {
                return Err(shape_error(path, name, array.shape(), "the shape of hidden_states"));
            }
            Ok(Some(array))
        };
        for dtype in [Dtype::F16, Dtype::Bf16] {
            reference.rounded.extend(optional(&rounded_name(dtype))?.map(|array| (dtype, array)));
        }
        for name in quantized {
            reference.quantized.extend(optional(&name)?.map(|array| (name, array)));
        }
        Ok(reference)
    }

    /// Writes the reference in the form that [`Reference::read`] reads.
    ///
    /// # Errors
    /// [`VerifyError::Output`].
    pub fn write(&self, path: &Path) -> Result<()> {
        let input = Array1::from_vec(self.input_values.clone()).into_dyn();
        let names: Vec<String> = self.rounded.keys().map(|&dtype| rounded_name(dtype)).collect();
        let mut arrays = vec![("input_values", input), ("hidden_states", self.hidden_states.clone().into_dyn())];
        for (name, array) in names.iter().zip(self.rounded.values()) {
            arrays.push((name, array.clone().into_dyn()));
        }
        arrays.extend(self.quantized.iter().map(|(name, array)| (name.as_str(), array.clone().into_dyn())));
        npz::write(path, &arrays)
    }
}

/// Lists the `.npz` files that an argument names: the file itself, or those in a folder, sorted by name.
///
/// # Errors
/// [`VerifyError::Read`] if the path does not exist, [`VerifyError::NothingToCompare`] for a folder without a `.npz`.
pub(crate) fn reference_files(path: &Path) -> Result<Vec<PathBuf>> {
    let unreadable = |source| VerifyError::read(path, source);
    if !std::fs::metadata(path).map_err(unreadable)?.is_dir() {
        return Ok(vec![path.to_path_buf()]);
    }
    let mut files = Vec::new();
    for entry in std::fs::read_dir(path).map_err(unreadable)? {
        let file = entry.map_err(unreadable)?.path();
        if file.extension().is_some_and(|extension| extension == "npz") {
            files.push(file);
        }
    }
    if files.is_empty() {
        let reason = format!("{} holds no .npz file, so there is nothing to compare with", path.display());
        return Err(VerifyError::NothingToCompare(reason));
    }
    files.sort();
    Ok(files)
}

fn rounded_name(dtype: Dtype) -> String {
    format!("hidden_states_{dtype}")
}

/// Removes a batch axis of 1, which `torch.stack` leaves after or before the layers.
fn three_dimensional(path: &Path, name: &str, array: ArrayD<f32>) -> Result<Array3<f32>> {
    let shape = array.shape().to_vec();
    let batch = match shape[..] {
        _ if shape.contains(&0) => return Err(shape_error(path, name, &shape, "no empty axis")),
        [_, _, _] => return array.into_dimensionality::<Ix3>().map_err(|_| shape_error(path, name, &shape, AXES)),
        [_, 1, _, _] => Axis(1),
        [1, _, _, _] => Axis(0),
        [_, clips, _, _] => {
            let expected = format!("{AXES}: a reference is of one clip, this is a batch of {clips}");
            return Err(shape_error(path, name, &shape, &expected));
        }
        _ => return Err(shape_error(path, name, &shape, AXES)),
    };
    let states = array.remove_axis(batch).into_dimensionality::<Ix3>();
    states.map_err(|_| shape_error(path, name, &shape, AXES))
}

/// The axes of a reference's hidden states.
const AXES: &str = "(layers + 1, frames, width)";

fn shape_error(path: &Path, name: &str, found: &[usize], expected: &str) -> VerifyError {
    VerifyError::array(path, format!("array `{name}` has shape {found:?}, expected {expected}"))
}
