//! Reading and writing numpy's `.npy` and `.npz` files, as far as references need it: f32 arrays in either byte order.
//! The format is documented in numpy's `numpy/lib/_format_impl.py`.

use std::fs::File;
use std::io::{self, BufReader, Cursor, Read, Seek, Write};
use std::path::Path;

use mert_fs::{FsError, npy_reader, replace_file};
use ndarray::{ArrayD, IxDyn, ShapeBuilder};
use npyz::npz::{NpzArchive, NpzWriter, file_name_from_array_name};
use npyz::zip::DateTime;
use npyz::zip::write::FileOptions;
use npyz::{NpyFile, Order, WriterBuilder};

use crate::{Result, VerifyError};

/// An open `.npz` file.
pub(crate) struct Archive<'p> {
    path: &'p Path,
    archive: NpzArchive<BufReader<File>>,
}

impl<'p> Archive<'p> {
    /// Opens a `.npz` file.
    ///
    /// # Errors
    /// [`VerifyError::Read`] if it cannot be read, [`VerifyError::Array`] if it is not a zip archive.
    pub(crate) fn open(path: &'p Path) -> Result<Self> {
        let mut start = [0; 2];
        let read = File::open(path).and_then(|mut file| file.read(&mut start));
        if read.is_ok() && start != *b"PK" {
            let reason = "it is not a zip archive, expected an .npz, as numpy.savez writes it";
            return Err(VerifyError::array(path, reason));
        }
        let archive = NpzArchive::open(path).map_err(|source| VerifyError::read(path, source))?;
        Ok(Archive { path, archive })
    }

    /// The names of the arrays.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.archive.array_names()
    }

    /// Whether the file has an array of this name.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.names().any(|found| found == name)
    }

    /// Reads the f32 array of this name, row-major, or `None` if the file has no such array. An array of f64 is rounded
    /// to f32.
    ///
    /// # Errors
    /// [`VerifyError::Array`] if the array has another type or is damaged, which the checksum of the zip entry also
    /// tells.
    pub(crate) fn get(&mut self, name: &str) -> Result<Option<ArrayD<f32>>> {
        self.read(name, |path, file| read_array(path, name, file))
    }

    /// Reads the array of whole numbers from 0 to 2^32 − 1 of this name, row-major, or `None` if the file has no such array.
    ///
    /// # Errors
    /// [`VerifyError::Array`] if the array has another type or value, or is damaged.
    pub(crate) fn integers(&mut self, name: &str) -> Result<Option<ArrayD<u32>>> {
        self.read(name, |path, file| read_integers(path, name, file))
    }

    /// Reads the text of this name, a numpy array of one str, or `None` if the file has no such array.
    ///
    /// # Errors
    /// [`VerifyError::Array`] if the array has another type or number of texts, or is damaged.
    pub(crate) fn text(&mut self, name: &str) -> Result<Option<String>> {
        self.read(name, |path, file| read_text(path, name, file))
    }

    /// Reads the array of this name with `read`, or returns `None` if the file has no such array.
    fn read<T>(
        &mut self,
        name: &str,
        read: impl FnOnce(&Path, NpyFile<&mut dyn Read>) -> Result<T>,
    ) -> Result<Option<T>> {
        if !self.has(name) {
            return Ok(None);
        }
        let path = self.path;
        let member = self.archive.zip_archive().by_name(&file_name_from_array_name(name));
        let mut member = BufReader::new(member.map_err(|e| array_error(path, name, e))?);
        let found = npy_reader(&mut member).map_err(|e| array_error(path, name, e)).and_then(|mut reader| {
            let reader: &mut dyn Read = &mut reader;
            NpyFile::new(reader).map_err(|e| array_error(path, name, e)).and_then(|file| read(path, file))
        });
        // The zip reader compares the checksum at the member's end. A damaged member may still parse.
        io::copy(&mut member, &mut io::sink()).map_err(|e| {
            array_error(path, name, format!("the file is damaged ({e}); copy it again, or write it again"))
        })?;
        found.map(Some)
    }

    /// Reads a required array; otherwise as [`Archive::get`].
    ///
    /// # Errors
    /// [`VerifyError::Array`], also if the array is missing.
    pub(crate) fn require(&mut self, name: &str) -> Result<ArrayD<f32>> {
        self.get(name)?.ok_or_else(|| {
            let mut names: Vec<&str> = self.names().collect();
            names.sort_unstable();
            let reason = format!("array `{name}` is missing; the file has: {}", names.join(", "));
            VerifyError::array(self.path, reason)
        })
    }
}

/// Reads a clip as it enters the model: a `.npy` of shape `(N,)` or `(1, N)`, or such an array named
/// `input_values` in a `.npz`.
///
/// # Errors
/// [`VerifyError::Read`] or [`VerifyError::Array`].
pub fn read_input_values(path: &Path) -> Result<Vec<f32>> {
    let array = if path.extension().is_some_and(|extension| extension == "npy") {
        let file = File::open(path).and_then(|file| NpyFile::new(npy_reader(BufReader::new(file))?));
        read_array(path, "input_values", file.map_err(|source| VerifyError::read(path, source))?)?
    } else {
        Archive::open(path)?.require("input_values")?
    };
    flatten_clip(path, array)
}

/// Converts a clip of shape `(N,)` or `(1, N)` to its samples.
pub(crate) fn flatten_clip(path: &Path, array: ArrayD<f32>) -> Result<Vec<f32>> {
    let shape = array.shape();
    let reason = match shape {
        [n] | [1, n] if *n > 0 => return Ok(array.into_iter().collect()),
        [clips, _] if *clips > 1 => format!("it holds {clips} clips; a reference is of one clip, in a batch of 1"),
        _ => "expected (N,) or (1, N) with N > 0".into(),
    };
    Err(VerifyError::array(path, format!("array `input_values` has shape {shape:?}: {reason}")))
}

fn array_error(path: &Path, name: &str, reason: impl std::fmt::Display) -> VerifyError {
    VerifyError::array(path, format!("array `{name}`: {reason}"))
}

fn read_array<R: Read>(path: &Path, name: &str, file: NpyFile<R>) -> Result<ArrayD<f32>> {
    let shape: Vec<usize> = file.shape().iter().map(|&n| n as usize).collect();
    let order = file.order();
    let dtype = file.dtype().descr();
    // A header can claim any size; reading stops at the end of the data, so only what is there is kept.
    let values = match dtype.trim_matches('\'') {
        "<f4" | ">f4" => values::<f32>(file),
        "<f8" | ">f8" => values::<f64>(file).map(|values| values.into_iter().map(|value| value as f32).collect()),
        "<f2" | ">f2" => {
            let reason = "dtype float16 has too few bits to judge by; compute the array in float32 and save that";
            return Err(array_error(path, name, reason));
        }
        "|O" => {
            let reason = "it is a pickled list or object, which is never loaded; save one float32 array, such as \
                          torch.cat(hidden_states).numpy()";
            return Err(array_error(path, name, reason));
        }
        other => {
            let reason = format!("dtype {other} is not float32; save it with .astype(\"float32\")");
            return Err(array_error(path, name, reason));
        }
    };
    let values: Vec<f32> = values.map_err(|e| array_error(path, name, e))?;
    let shaped = match order {
        Order::C => ArrayD::from_shape_vec(IxDyn(&shape), values),
        Order::Fortran => ArrayD::from_shape_vec(IxDyn(&shape).f(), values),
    };
    let shaped = shaped.map_err(|e| array_error(path, name, format!("shape {shape:?}: {e}")))?;
    Ok(shaped.as_standard_layout().into_owned())
}

fn read_text<R: Read>(path: &Path, name: &str, file: NpyFile<R>) -> Result<String> {
    let dtype = file.dtype().descr();
    let texts = values::<String>(file).map_err(|_| {
        array_error(path, name, format!("dtype {dtype} is no text; save it as numpy.array(\"the text\")"))
    })?;
    match <[String; 1]>::try_from(texts) {
        Ok([text]) => Ok(text),
        Err(texts) => Err(array_error(path, name, format!("{} texts, expected one", texts.len()))),
    }
}

fn read_integers<R: Read>(path: &Path, name: &str, file: NpyFile<R>) -> Result<ArrayD<u32>> {
    let shape: Vec<usize> = file.shape().iter().map(|&n| n as usize).collect();
    let order = file.order();
    let dtype = file.dtype().descr();
    let values = match dtype.trim_matches('\'') {
        "<i8" | ">i8" => values::<i64>(file),
        "<i4" | ">i4" => values::<i32>(file).map(|values| values.into_iter().map(i64::from).collect()),
        other => {
            let reason = format!("dtype {other} is not int64 or int32; save it with .astype(\"int64\")");
            return Err(array_error(path, name, reason));
        }
    };
    let values = values.map_err(|e| array_error(path, name, e))?;
    let number = |value: &i64| {
        u32::try_from(*value).map_err(|_| array_error(path, name, format!("value {value}, expected 0 to 4294967295")))
    };
    let values: Vec<u32> = values.iter().map(number).collect::<Result<_>>()?;
    let shaped = match order {
        Order::C => ArrayD::from_shape_vec(IxDyn(&shape), values),
        Order::Fortran => ArrayD::from_shape_vec(IxDyn(&shape).f(), values),
    };
    let shaped = shaped.map_err(|e| array_error(path, name, format!("shape {shape:?}: {e}")))?;
    Ok(shaped.as_standard_layout().into_owned())
}

fn values<T: npyz::Deserialize>(file: NpyFile<impl Read>) -> Result<Vec<T>, String> {
    let values = file.data::<T>().map_err(|e| e.to_string())?;
    values.collect::<io::Result<_>>().map_err(|e| e.to_string())
}

/// Writes f32 arrays to a `.npz`, uncompressed and atomically.
///
/// # Errors
/// [`VerifyError::Output`].
pub fn write(path: &Path, arrays: &[(&str, ArrayD<f32>)]) -> Result<()> {
    let mut bytes = Cursor::new(Vec::new());
    write_to(&mut bytes, arrays).map_err(|source| FsError::write(path, source))?;
    Ok(replace_file(path, |file| file.write_all(bytes.get_ref()))?)
}

fn write_to(sink: impl io::Write + Seek, arrays: &[(&str, ArrayD<f32>)]) -> io::Result<()> {
    let mut archive = NpzWriter::new(sink);
    // With a fixed time, so that the same arrays give the same bytes.
    let options = FileOptions::default().last_modified_time(DateTime::default());
    for (name, array) in arrays {
        let shape: Vec<u64> = array.shape().iter().map(|&n| n as u64).collect();
        let mut writer = archive.array::<f32>(name, options)?.default_dtype().shape(&shape).begin_nd()?;
        writer.extend(array.iter().copied())?;
        writer.finish()?;
    }
    archive.zip_writer().finish()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads a `.npy` of two values of this dtype, assembled according to numpy's format.
    fn read(descr: &str, data: &[u8]) -> Result<ArrayD<f32>> {
        let header = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': (2,), }}");
        let header = format!("{header:117}\n");
        let bytes = [b"\x93NUMPY\x01\x00".as_slice(), &[118, 0], header.as_bytes(), data].concat();
        read_array(Path::new("r.npz"), "hidden_states", NpyFile::new(&bytes[..]).unwrap())
    }

    #[test]
    fn either_byte_order_and_f64_are_read() {
        let values = [1.5f32, -2.0];
        for (descr, data) in [
            ("<f4", values.map(f32::to_le_bytes).concat()),
            (">f4", values.map(f32::to_be_bytes).concat()),
            ("<f8", values.map(|x| f64::from(x).to_le_bytes()).concat()),
            (">f8", values.map(|x| f64::from(x).to_be_bytes()).concat()),
        ] {
            assert_eq!(read(descr, &data).unwrap().as_slice().unwrap(), values, "{descr}");
        }
    }

    #[test]
    fn no_flipped_bit_gives_other_values() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("r.npz");
        let values = [1.5f32, -2.0, 3.25];
        write(&path, &[("input_values", ndarray::arr1(&values).into_dyn())]).unwrap();
        assert_eq!(Archive::open(&path).unwrap().require("input_values").unwrap().as_slice().unwrap(), values);

        let bytes = std::fs::read(&path).unwrap();
        assert_eq!(bytes[10..14], [0, 0, 0x21, 0], "a time other than 1980-01-01 in the first entry");
        let data = 30 + "input_values.npy".len()..bytes.windows(4).position(|window| window == b"PK\x01\x02").unwrap();
        let mut detected = 0;
        for bit in data.start * 8..data.end * 8 {
            let mut damaged = bytes.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            std::fs::write(&path, damaged).unwrap();
            let error = match Archive::open(&path).unwrap().require("input_values") {
                // Padding of the compressed stream.
                Ok(array) => {
                    assert_eq!(array.as_slice().unwrap(), values, "{bit}");
                    continue;
                }
                Err(error) => error.to_string(),
            };
            detected += usize::from(error.contains("damaged"));
        }
        assert!(detected > data.len(), "{detected} of {} bits", data.len() * 8);
    }

    #[test]
    fn other_types_are_refused_with_advice() {
        for (descr, word) in
            [("<f2", "compute the array in float32"), ("|O", "pickled"), ("<i2", "astype"), ("<c8", "astype")]
        {
            let error = read(descr, &[0; 64]).unwrap_err().to_string();
            assert!(error.contains(word) && error.contains("hidden_states"), "{descr}: {error}");
        }
    }
}
