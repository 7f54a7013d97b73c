//! The file of a metric: a `.safetensors` file of f64 tensors, with what the metric belongs to as JSON in its metadata.
//!
//! The tensors are `diagonal`; or `weight`; or `first.weight`, `first.bias`, `second.weight` and `second.bias` of a head. The
//! same metric gives the same bytes.

use std::collections::HashMap;
use std::io::Write;
use std::path::Path;

use mert_fs::{AtomicFile, sha256_bytes};
use safetensors::tensor::{Dtype, TensorView, serialize};
use safetensors::{SafeTensorError, SafeTensors};
use serde::{Deserialize, Serialize};

use super::{Affine, Metric, MetricOrigin, Transform};
use crate::{Result, SearchError};

/// The key of the metadata, which has no other: the order of several is not fixed.
const KEY: &str = "mert-search metric";

/// The version of the format that this program reads and writes.
const VERSION: u32 = 1;

#[derive(Debug, Serialize, Deserialize)]
struct Metadata {
    version: u32,
    #[serde(flatten)]
    origin: MetricOrigin,
}

impl Metric {
    /// Reads a metric.
    ///
    /// # Errors
    /// [`SearchError::Io`], and [`SearchError::Metric`] for a file of another kind.
    pub fn load(path: &Path) -> Result<Self> {
        let bytes = std::fs::read(path).map_err(SearchError::io(path))?;
        Metric::from_bytes(&bytes).map_err(|reason| SearchError::Metric { path: path.to_path_buf(), reason })
    }

    /// Writes the metric to `path`; another file there is replaced only with `force`.
    ///
    /// # Errors
    /// [`SearchError::Write`] and [`SearchError::Io`].
    pub fn save(&self, path: &Path, force: bool) -> Result<()> {
        let bytes = self.to_bytes().map_err(|reason| SearchError::Metric { path: path.to_path_buf(), reason })?;
        let mut output = AtomicFile::create(path, force)?;
        output.file_mut().write_all(&bytes).map_err(SearchError::io(path))?;
        Ok(output.commit()?)
    }

    /// SHA-256 of the file, in lower-case hexadecimal.
    ///
    /// # Errors
    /// [`SearchError::Query`] if the metric cannot be written as a file.
    pub fn sha256(&self) -> Result<String> {
        self.to_bytes().map(|bytes| sha256_bytes(&bytes)).map_err(SearchError::Query)
    }

    fn from_bytes(bytes: &[u8]) -> Result<Self, String> {
        let (_, header) = SafeTensors::read_metadata(bytes).map_err(|error| {
            format!("expected a metric that `mert-search learn` wrote, a .safetensors file: {error}")
        })?;
        let metadata = header.metadata().as_ref().and_then(|metadata| metadata.get(KEY));
        let metadata = metadata.ok_or("expected a metric that `mert-search learn` wrote, found other tensors")?;
        let metadata: Metadata = serde_json::from_str(metadata).map_err(|error| error.to_string())?;
        if metadata.version != VERSION {
            return Err(format!("expected version {VERSION} of the format, found version {}", metadata.version));
        }
        let file = SafeTensors::deserialize(bytes).map_err(|error| error.to_string())?;
        let values = |name: &str| -> Result<(Vec<usize>, Vec<f64>), String> {
            let tensor = file.tensor(name).map_err(|error| error.to_string())?;
            if tensor.dtype() != Dtype::F64 {
                return Err(format!("{name}: expected F64, found {:?}", tensor.dtype()));
            }
            let values = tensor.data().as_chunks::<8>().0.iter().map(|&bytes| f64::from_le_bytes(bytes));
            Ok((tensor.shape().to_vec(), values.collect()))
        };
        let matrix = |name: &str| match values(name)? {
            (shape, weight) if shape.len() == 2 => Ok(Affine { weight, bias: Vec::new(), inputs: shape[1] }),
            (shape, _) => Err(format!("{name}: expected a matrix, found the shape {shape:?}")),
        };
        let names = file.names();
        let transform = if names.contains(&"diagonal") {
            Transform::Diagonal(values("diagonal")?.1)
        } else if names.contains(&"weight") {
            Transform::Linear(matrix("weight")?)
        } else {
            let layer = |name: &str| {
                Ok::<_, String>(Affine {
                    bias: values(&format!("{name}.bias"))?.1,
                    ..matrix(&format!("{name}.weight"))?
                })
            };
            Transform::Head { first: layer("first")?, second: layer("second")? }
        };
        Metric::new(transform, metadata.origin).map_err(|error| error.to_string())
    }

    fn to_bytes(&self) -> Result<Vec<u8>, String> {
        let bytes = |values: &[f64]| -> Vec<u8> { values.iter().flat_map(|value| value.to_le_bytes()).collect() };
        let matrix =
            |name: &str, layer: &Affine| (name.to_string(), vec![layer.outputs(), layer.inputs], bytes(&layer.weight));
        let tensors = match &self.transform {
            Transform::Diagonal(factors) => vec![("diagonal".to_string(), vec![factors.len()], bytes(factors))],
            Transform::Linear(layer) => vec![matrix("weight", layer)],
            Transform::Head { first, second } => {
                let mut tensors = Vec::new();
                for (name, layer) in [("first", first), ("second", second)] {
                    let mut bias = layer.bias.clone();
                    bias.resize(layer.outputs(), 0.0);
                    tensors.push(matrix(&format!("{name}.weight"), layer));
                    tensors.push((format!("{name}.bias"), vec![bias.len()], bytes(&bias)));
                }
                tensors
            }
        };
        let metadata = Metadata { version: VERSION, origin: self.origin.clone() };
        let metadata = serde_json::to_string(&metadata).map_err(|error| error.to_string())?;
        let views: Result<Vec<_>, SafeTensorError> = tensors
            .iter()
            .map(|(name, shape, bytes)| Ok((name, TensorView::new(Dtype::F64, shape.clone(), bytes)?)))
            .collect();
        let metadata = HashMap::from([(KEY.to_string(), metadata)]);
        views.and_then(|views| serialize(views, Some(metadata))).map_err(|error| error.to_string())
    }
}
