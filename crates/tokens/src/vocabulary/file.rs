//! The file of a vocabulary: a `.safetensors` with `centroids` F32 `(k, dim)`, `counts` I64 `(k)`, the steps in front of them
//! in F64, and the record in the metadata.
//!
//! The header is written here because the crate's own writer puts the metadata in hash order: the same vocabulary must give the
//! same bytes.

use std::io::{self, BufWriter, Write};
use std::path::Path;

use mert_fs::AtomicFile;
use safetensors::{Dtype, SafeTensors};
use serde_json::{Map, Value, json};

use super::metadata::{Metadata, to_metadata};
use super::{Projection, Step, Vocabulary};
use crate::{Result, TokensError, npy};

impl Vocabulary {
    /// Writes the vocabulary, through a temporary sibling that is renamed. An existing file needs `force`.
    ///
    /// # Errors
    /// [`TokensError::Write`], [`TokensError::Invalid`] if the record or the counts do not fit.
    pub fn write(&self, path: &Path, force: bool) -> Result<()> {
        let bytes = self.to_bytes()?;
        // What was written must be what is read.
        let read = Vocabulary::from_bytes(path, &bytes)?;
        if read != *self {
            return Err(TokensError::Invalid("the vocabulary's file does not give the same vocabulary".into()));
        }
        let mut file = AtomicFile::create(path, force)?;
        file.file_mut().write_all(&bytes).map_err(|source| TokensError::write(path, source))?;
        Ok(file.commit()?)
    }

    /// The bytes of the vocabulary's file.
    ///
    /// # Errors
    /// [`TokensError::Invalid`] if the record or the counts do not fit.
    pub fn to_bytes(&self) -> Result<Vec<u8>> {
        if let Some(record) = &self.record {
            record.validate().map_err(TokensError::Invalid)?;
        }
        let mut tensors: Vec<(String, &str, Vec<usize>, Vec<u8>)> = Vec::new();
        // Elements of 8 bytes come first: all are aligned then, whatever the number of floats.
        let steps = self.projection.iter().flat_map(Projection::steps).enumerate();
        for (number, step) in steps {
            for (name, shape, values) in arrays(step) {
                let bytes = values.iter().flat_map(|value| value.to_le_bytes()).collect();
                tensors.push((format!("steps.{number}.{name}"), "F64", shape, bytes));
            }
        }
        if let Some(counts) = &self.counts {
            let signed: Option<Vec<i64>> = counts.iter().map(|&count| i64::try_from(count).ok()).collect();
            let signed = signed.filter(|counts| counts.len() == self.k());
            let signed = signed.ok_or_else(|| TokensError::Invalid(format!("the counts are not {}", self.k())))?;
            let bytes = signed.iter().flat_map(|count| count.to_le_bytes()).collect();
            tensors.push(("counts".into(), "I64", vec![self.k()], bytes));
        }
        let bytes = self.centroids().iter().flat_map(|value| value.to_le_bytes()).collect();
        tensors.push(("centroids".into(), "F32", vec![self.k(), self.dim()], bytes));

        let mut header = Map::from_iter([("__metadata__".to_string(), json!(to_metadata(self)))]);
        let mut start = 0;
        for (name, dtype, shape, bytes) in &tensors {
            let end = start + bytes.len();
            header.insert(name.clone(), json!({"dtype": dtype, "shape": shape, "data_offsets": [start, end]}));
            start = end;
        }
        let mut header = Value::Object(header).to_string().into_bytes();
        header.resize(header.len().next_multiple_of(8), b' ');
        let mut file = (header.len() as u64).to_le_bytes().to_vec();
        file.append(&mut header);
        tensors.into_iter().for_each(|(.., mut bytes)| file.append(&mut bytes));
        Ok(file)
    }

    /// A vocabulary from the bytes of its file; `path` is for messages.
    ///
    /// # Errors
    /// [`TokensError::NotAVocabulary`], [`TokensError::Field`].
    pub fn from_bytes(path: &Path, bytes: &[u8]) -> Result<Self> {
        let damaged = |reason: String| TokensError::not_a_vocabulary(path, reason);
        let invalid = |error: TokensError| damaged(error.to_string());
        let header =
            SafeTensors::read_metadata(bytes).and_then(|(_, header)| Ok((SafeTensors::deserialize(bytes)?, header)));
        let (tensors, header) =
            header.map_err(|error| damaged(format!("its safetensors structure is damaged: {error}")))?;
        let none = Default::default();
        let metadata = Metadata::new(path, header.metadata().as_ref().unwrap_or(&none))?;
        let field = |field: &str, expected: &str, found: String| TokensError::Field {
            path: path.into(),
            field: field.into(),
            expected: expected.into(),
            found,
        };
        let tensor = |name: &str, dtype: Dtype, expected: &str| match tensors.tensor(name) {
            Ok(view) if view.dtype() == dtype => Ok((view.shape().to_vec(), view.data().to_vec())),
            Ok(view) => Err(field(name, expected, format!("{:?} {:?}", view.dtype(), view.shape()))),
            Err(_) => Err(field(name, expected, "missing".into())),
        };

        let (shape, data) = tensor("centroids", Dtype::F32, "an F32 tensor (k, dim)")?;
        let [_, dim] = shape[..] else {
            return Err(field("centroids", "an F32 tensor (k, dim)", format!("of the shape {shape:?}")));
        };
        let values = data.as_chunks::<4>().0.iter().map(|value| f32::from_le_bytes(*value)).collect();
        let mut vocabulary = Vocabulary::new(values, dim).map_err(invalid)?;
        vocabulary.normalize = metadata.normalize()?;

        if tensors.names().contains(&"counts") {
            const EXPECTED: &str = "an I64 tensor of k counts from 0";
            let (shape, data) = tensor("counts", Dtype::I64, EXPECTED)?;
            let counts = data.as_chunks::<8>().0.iter().map(|count| u64::try_from(i64::from_le_bytes(*count)).ok());
            let counts: Option<Vec<u64>> = counts.collect();
            let counts = counts.filter(|counts| shape == [vocabulary.k()] && counts.len() == vocabulary.k());
            vocabulary.counts =
                Some(counts.ok_or_else(|| field("counts", EXPECTED, format!("of the shape {shape:?}")))?);
        }
        let steps = metadata.steps();
        if !steps.is_empty() {
            let array = |number: usize, name: &str| -> Result<(Vec<usize>, Vec<f64>)> {
                let (shape, data) = tensor(&format!("steps.{number}.{name}"), Dtype::F64, "an F64 tensor")?;
                Ok((shape, data.as_chunks::<8>().0.iter().map(|value| f64::from_le_bytes(*value)).collect()))
            };
            let steps = steps.iter().enumerate().map(|(number, name)| match *name {
                "l2" => Ok(Step::L2),
                "standardize" => {
                    Ok(Step::Standardize { mean: array(number, "mean")?.1, scale: array(number, "scale")?.1 })
                }
                "pca" => {
                    let whitens = tensors.names().contains(&format!("steps.{number}.scale").as_str());
                    let scale = if whitens { Some(array(number, "scale")?.1) } else { None };
                    let (mean, components) = (array(number, "mean")?.1, array(number, "components")?.1);
                    Ok(Step::Pca { mean, components, scale })
                }
                "linear" => {
                    let (shape, matrix) = array(number, "matrix")?;
                    let columns = shape.get(1).copied().unwrap_or_default();
                    Ok(Step::Linear { matrix, bias: array(number, "bias")?.1, columns })
                }
                other => Err(metadata.error("steps", "l2, standardize, pca or linear", other)),
            });
            let projection = Projection::new(steps.collect::<Result<_>>()?).map_err(invalid)?;
            vocabulary.set_projection(projection).map_err(invalid)?;
        }
        for (name, actual) in [("k", vocabulary.k()), ("dim", vocabulary.input_dim())] {
            let stated: usize = metadata.parse(name, "a whole number")?;
            if stated != actual {
                return Err(metadata.error(name, &format!("{actual}, as the tensors have it"), &stated.to_string()));
            }
        }
        vocabulary.record = metadata.record()?;
        Ok(vocabulary)
    }
}

/// The arrays of a step by name, with their shapes.
fn arrays(step: &Step) -> Vec<(&'static str, Vec<usize>, &[f64])> {
    let vector = |name, values| -> (&'static str, Vec<usize>, &[f64]) {
        let values: &[f64] = values;
        (name, vec![values.len()], values)
    };
    match step {
        Step::L2 => Vec::new(),
        Step::Standardize { mean, scale } => vec![vector("mean", mean), vector("scale", scale)],
        Step::Pca { mean, components, scale } => {
            let shape = vec![components.len().checked_div(mean.len()).unwrap_or_default(), mean.len()];
            let scale = scale.as_deref().map(|scale| vector("scale", scale));
            [vector("mean", mean), ("components", shape, components)].into_iter().chain(scale).collect()
        }
        Step::Linear { matrix, bias, columns } => {
            vec![("matrix", vec![bias.len(), *columns], matrix), vector("bias", bias)]
        }
    }
}

/// Writes the centres as numpy's `.npy`, f32 `(k, dim)`, for other programs. The record and the steps in front are not in it.
///
/// # Errors
/// [`TokensError::Write`].
pub fn write_npy(vocabulary: &Vocabulary, path: &Path, force: bool) -> Result<()> {
    let mut file = AtomicFile::create(path, force)?;
    let write = |file: &mut std::fs::File| -> io::Result<()> {
        let mut out = BufWriter::new(file);
        out.write_all(&npy::header("<f4", &[vocabulary.k(), vocabulary.dim()]))?;
        vocabulary.centroids().iter().try_for_each(|value| out.write_all(&value.to_le_bytes()))?;
        out.flush()
    };
    write(file.file_mut()).map_err(|source| TokensError::write(path, source))?;
    Ok(file.commit()?)
}
