//! Centres in the indexes of faiss, after
//! [`impl/index_read.cpp`](https://github.com/facebookresearch/faiss/blob/main/faiss/impl/index_read.cpp): flat indexes, the
//! coarse quantizer of an inverted file (flat, or HNSW over a flat one), and linear transforms in front.

use super::{Foreign, from_centres};
use crate::vocabulary::{Normalize, Projection, Step};

/// The limit on indexes inside indexes, and on transforms.
const MAX_DEPTH: usize = 8;

/// The largest relative difference between the lengths of centres with which the largest inner product is the nearest centre.
const SAME_LENGTH: f64 = 1e-4;

/// True for a file that begins as an index of faiss.
pub(in crate::vocabulary) fn is_index(bytes: &[u8]) -> bool {
    matches!(bytes, [b'I', b'x' | b'w' | b'v' | b'H' | b'B', c, d, ..] if c.is_ascii_alphanumeric() && d.is_ascii_alphanumeric())
}

/// The vocabulary in an index.
///
/// # Errors
/// A clause about the file.
pub(in crate::vocabulary) fn read(bytes: &[u8]) -> Result<Foreign, String> {
    let mut file = Reader { rest: bytes };
    let mut index = Index::default();
    file.index(&mut index, 0)?;
    let (Some(metric), Some((rows, dim))) = (index.metric, index.shape) else {
        return Err("its index has no centres".into());
    };
    let mut foreign =
        from_centres(&[rows, dim], &index.centres.iter().map(|&value| f64::from(value)).collect::<Vec<_>>())?;
    if metric == Metric::InnerProduct {
        let lengths =
            || index.centres.chunks_exact(dim).map(|row| row.iter().map(|&x| f64::from(x).powi(2)).sum::<f64>().sqrt());
        let (low, high) =
            lengths().fold((f64::INFINITY, 0.0f64), |(low, high), length| (low.min(length), high.max(length)));
        if high - low > SAME_LENGTH * high {
            return Err(format!(
                "its index searches the largest inner product among centres of different lengths ({low} to {high}), which is \
                 not the nearest centre; use an IndexFlatL2"
            ));
        }
        foreign.notes.push(
            "the index searches the largest inner product; its centres have one length, so that it is the nearest centre".into(),
        );
    }
    foreign.notes.append(&mut index.notes);
    let mut steps = index.steps;
    if steps.first() == Some(&Step::L2) {
        steps.remove(0);
        foreign.vocabulary.normalize = Normalize::L2;
    }
    if !steps.is_empty() {
        let projection = Projection::new(steps).map_err(|error| error.to_string())?;
        foreign.vocabulary.set_projection(projection).map_err(|error| error.to_string())?;
    }
    Ok(foreign)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Metric {
    InnerProduct,
    L2,
}

/// The parts of an index that were found.
#[derive(Debug, Default)]
struct Index {
    steps: Vec<Step>,
    metric: Option<Metric>,
    shape: Option<(usize, usize)>,
    centres: Vec<f32>,
    notes: Vec<String>,
}

/// The fields that every index begins with.
struct Header {
    dim: usize,
    count: usize,
    metric: Metric,
}

struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], String> {
        match self.rest.split_at_checked(count) {
            Some((taken, rest)) => {
                self.rest = rest;
                Ok(taken)
            }
            None => Err(format!("its index is cut off: {count} bytes are missing; download or write it again")),
        }
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], String> {
        self.take(N)?.try_into().map_err(|_| "its index is cut off".to_string())
    }

    fn u8(&mut self) -> Result<u8, String> {
        Ok(self.array::<1>()?[0])
    }

    fn i32(&mut self) -> Result<i32, String> {
        self.array().map(i32::from_le_bytes)
    }

    fn u64(&mut self) -> Result<u64, String> {
        self.array().map(u64::from_le_bytes)
    }

    fn width(&mut self, what: &str) -> Result<usize, String> {
        let width = self.i32()?;
        usize::try_from(width).map_err(|_| format!("its {what} is {width}: the index is damaged"))
    }

    /// The bytes of a vector whose elements take `size` bytes.
    fn vector(&mut self, size: usize) -> Result<&'a [u8], String> {
        let count = usize::try_from(self.u64()?).unwrap_or(usize::MAX);
        self.take(count.saturating_mul(size))
    }

    fn floats(&mut self) -> Result<Vec<f32>, String> {
        Ok(self.vector(4)?.as_chunks::<4>().0.iter().map(|value| f32::from_le_bytes(*value)).collect())
    }

    fn doubles(&mut self) -> Result<Vec<f64>, String> {
        Ok(self.floats()?.into_iter().map(f64::from).collect())
    }

    fn fourcc(&mut self) -> Result<[u8; 4], String> {
        self.array()
    }

    fn header(&mut self) -> Result<Header, String> {
        let dim = self.width("width")?;
        let count = usize::try_from(self.u64()?).unwrap_or(usize::MAX);
        self.take(16)?; // unused
        self.u8()?; // is_trained
        let metric = match self.i32()? {
            0 => Metric::InnerProduct,
            1 => Metric::L2,
            other => return Err(format!("its index has the metric {other}, expected L2 (1) or the inner product (0)")),
        };
        Ok(Header { dim, count, metric })
    }

    fn index(&mut self, index: &mut Index, depth: usize) -> Result<(), String> {
        if depth > MAX_DEPTH {
            return Err("its index has too many indexes inside each other".into());
        }
        let code = self.fourcc()?;
        match &code {
            b"IxF2" | b"IxFI" | b"IxFl" => {
                let header = self.header()?;
                let centres = self.floats()?;
                if header.count.checked_mul(header.dim) != Some(centres.len()) {
                    return Err(format!(
                        "its flat index has {} values for {} centres of {}: it is damaged",
                        centres.len(),
                        header.count,
                        header.dim
                    ));
                }
                (index.metric, index.shape, index.centres) =
                    (Some(header.metric), Some((header.count, header.dim)), centres);
                Ok(())
            }
            b"IxMp" | b"IxM2" => {
                self.header()?;
                self.index(index, depth + 1)?;
                let ids = self.vector(8)?;
                let is_same = (0i64..).zip(ids.as_chunks::<8>().0).all(|(row, id)| i64::from_le_bytes(*id) == row);
                match is_same && Some(ids.len() / 8) == index.shape.map(|(rows, _)| rows) {
                    true => Ok(()),
                    false => {
                        Err("its IndexIDMap gives centres other numbers than their rows; write the index inside it"
                            .into())
                    }
                }
            }
            // The inverted files: header, number of lists, probes, then the coarse quantizer, whose centres they are.
            [b'I', b'v' | b'w', ..] => {
                self.header()?;
                let lists = self.u64()?;
                self.u64()?;
                self.index(index, depth + 1)?;
                if index.shape.map(|(rows, _)| rows as u64) != Some(lists) {
                    return Err(format!(
                        "its inverted file has {lists} lists, and its coarse quantizer {} centres: it is damaged",
                        index.shape.map_or(0, |(rows, _)| rows)
                    ));
                }
                index.notes.push("the centres are those of the index's coarse quantizer".into());
                Ok(())
            }
            b"IHNf" => {
                self.header()?;
                self.vector(8)?; // assign_probas
                self.vector(4)?; // cum_nneighbor_per_level
                self.vector(4)?; // levels
                self.vector(8)?; // offsets
                self.vector(4)?; // neighbors
                self.take(5 * 4)?; // entry_point, max_level, efConstruction, efSearch, upper_beam
                self.index(index, depth + 1)?;
                index.notes.push(
                    "faiss searches its HNSW graph approximately; the exact nearest centre is used here, which may differ".into(),
                );
                Ok(())
            }
            b"IxPT" => {
                self.header()?;
                let count = self.width("number of transforms")?;
                if count > MAX_DEPTH {
                    return Err(format!("its index has {count} transforms, expected at most {MAX_DEPTH}"));
                }
                for _ in 0..count {
                    let step = self.transform()?;
                    index.steps.push(step);
                }
                self.index(index, depth + 1)
            }
            other => Err(format!(
                "it is a faiss index of the kind `{}`, expected a flat one (IxF2, IxFI, IxFl), alone or behind IndexIDMap, \
                 IndexPreTransform or as the coarse quantizer of an IVF; write the centres in Python: numpy.save(\"centres.npy\", \
                 index.reconstruct_n(0, index.ntotal))",
                String::from_utf8_lossy(other)
            )),
        }
    }

    fn transform(&mut self) -> Result<Step, String> {
        let code = self.fourcc()?;
        let step = match &code {
            b"LTra" | b"rrot" => self.linear()?,
            b"PcAm" | b"Pcam" => {
                // eigen_power, epsilon in `Pcam`, random_rotation, balanced_bins: all are in the matrix.
                self.take(if code == *b"Pcam" { 13 } else { 9 })?;
                for _ in 0..3 {
                    self.vector(4)?; // mean, eigenvalues, PCAMat
                }
                self.linear()?
            }
            b"VNrm" => {
                let norm = f32::from_le_bytes(self.array()?);
                if norm != 2.0 {
                    return Err(format!("its index normalises by the norm {norm}, expected 2"));
                }
                Step::L2
            }
            b"VCnt" => {
                let mean = self.doubles()?;
                Step::Standardize { scale: vec![1.0; mean.len()], mean }
            }
            other => {
                return Err(format!(
                    "its index has a transform of the kind `{}`, expected a linear one (LTra, PcAm, Pcam, rrot), a normalisation \
                     (VNrm) or a centring (VCnt)",
                    String::from_utf8_lossy(other)
                ));
            }
        };
        let (input, output) = (self.width("width")?, self.width("width")?);
        self.u8()?; // is_trained
        match step {
            Step::Linear { matrix, bias, .. } => {
                let bias = if bias.is_empty() { vec![0.0; output.min(matrix.len())] } else { bias };
                // A matrix of PCA may be larger than what is used of it.
                let used = input.checked_mul(output).and_then(|used| matrix.get(..used).map(<[f64]>::to_vec));
                let matrix =
                    used.ok_or("its index has a transform of another size than its matrix, or an untrained one")?;
                Ok(Step::Linear { matrix, bias, columns: input })
            }
            step => Ok(step),
        }
    }

    /// A matrix and constants, whose widths come later.
    fn linear(&mut self) -> Result<Step, String> {
        self.u8()?; // have_bias
        let (matrix, bias) = (self.doubles()?, self.doubles()?);
        Ok(Step::Linear { matrix, bias, columns: 0 })
    }
}
