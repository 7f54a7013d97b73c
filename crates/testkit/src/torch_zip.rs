//! A writer for `torch.save`'s zip container, for generated test checkpoints.

use std::fs::File;
use std::io::{self, BufWriter, Seek, Write};
use std::path::Path;

use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

use crate::Tensor;

/// Writes a state dict of f32 tensors as `torch.save` does since PyTorch 1.6: an uncompressed zip with a pickle of protocol
/// 2 and one entry for each storage.
///
/// # Errors
/// Errors of writing the file.
pub fn write_torch_zip(path: &Path, tensors: &[(String, Tensor)]) -> io::Result<()> {
    write(path, tensors, &|_| Storage::Float)
}

/// Writes as [`write_torch_zip`] does, to an open file; `root` is the folder of all entries, by default the stem of the
/// file's name.
///
/// # Errors
/// Errors of writing the file.
pub fn write_torch_zip_to(out: impl Write + Seek, root: &str, tensors: &[(String, Tensor)]) -> io::Result<()> {
    write_to(out, root, tensors, &|_| Storage::Float)
}

/// Writes as [`write_torch_zip`] does, but tensors with values in `wide` are stored as f64.
///
/// # Errors
/// Errors of writing the file.
pub fn write_torch_zip_f64(
    path: &Path,
    tensors: &[(String, Tensor)],
    wide: impl Fn(&str) -> Option<Vec<f64>>,
) -> io::Result<()> {
    write(path, tensors, &|name| wide(name).map_or(Storage::Float, Storage::Double))
}

/// The element type and values of a stored tensor.
enum Storage {
    Float,
    Double(Vec<f64>),
}

impl Storage {
    fn class(&self) -> &'static str {
        match self {
            Storage::Float => "FloatStorage",
            Storage::Double(_) => "DoubleStorage",
        }
    }

    fn bytes(&self, tensor: &Tensor) -> Vec<u8> {
        match self {
            Storage::Float => tensor.values.iter().flat_map(|value| value.to_le_bytes()).collect(),
            Storage::Double(values) => values.iter().flat_map(|value| value.to_le_bytes()).collect(),
        }
    }
}

fn write(path: &Path, tensors: &[(String, Tensor)], storage: &dyn Fn(&str) -> Storage) -> io::Result<()> {
    let root = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or("archive");
    write_to(File::create(path)?, root, tensors, storage)
}

fn write_to(
    out: impl Write + Seek,
    root: &str,
    tensors: &[(String, Tensor)],
    storage: &dyn Fn(&str) -> Storage,
) -> io::Result<()> {
    let mut zip = ZipWriter::new(BufWriter::new(out));
    let options = SimpleFileOptions::default().compression_method(CompressionMethod::Stored);
    let mut entry = |name: &str, bytes: &[u8]| -> io::Result<()> {
        zip.start_file(format!("{root}/{name}"), options)?;
        zip.write_all(bytes)
    };
    entry("data.pkl", &pickle(tensors, storage))?;
    entry("byteorder", b"little")?;
    for (i, (name, tensor)) in tensors.iter().enumerate() {
        entry(&format!("data/{i}"), &storage(name).bytes(tensor))?;
    }
    entry("version", b"3\n")?;
    zip.finish()?.flush()
}

/// The dictionary's pickle (opcodes: CPython's `Lib/pickletools.py`).
fn pickle(tensors: &[(String, Tensor)], storage: &dyn Fn(&str) -> Storage) -> Vec<u8> {
    let mut p = Pickler(vec![0x80, 2]); // PROTO 2
    p.op(b'}'); // EMPTY_DICT
    p.op(b'('); // MARK
    for (i, (name, tensor)) in tensors.iter().enumerate() {
        p.text(name);
        p.global("torch._utils", "_rebuild_tensor_v2");
        p.op(b'(');
        // The persistent id: ('storage', torch.FloatStorage, key, location, element count)
        p.op(b'(');
        p.text("storage");
        p.global("torch", storage(name).class());
        p.text(&i.to_string());
        p.text("cpu");
        p.int(tensor.values.len());
        p.op(b't'); // TUPLE
        p.op(b'Q'); // BINPERSID
        p.int(0); // offset in the storage
        p.tuple(&tensor.shape);
        p.tuple(&strides(&tensor.shape));
        p.op(0x89); // NEWFALSE: requires_grad
        p.global("collections", "OrderedDict"); // backward hooks
        p.op(b')'); // EMPTY_TUPLE
        p.op(b'R'); // REDUCE
        p.op(b't');
        p.op(b'R');
    }
    p.op(b'u'); // SETITEMS
    p.op(b'.'); // STOP
    p.0
}

fn strides(shape: &[usize]) -> Vec<usize> {
    (0..shape.len()).map(|axis| shape[axis + 1..].iter().product()).collect()
}

struct Pickler(Vec<u8>);

impl Pickler {
    fn op(&mut self, opcode: u8) {
        self.0.push(opcode);
    }

    fn text(&mut self, text: &str) {
        self.op(b'X'); // BINUNICODE
        self.0.extend((text.len() as u32).to_le_bytes());
        self.0.extend(text.as_bytes());
    }

    fn int(&mut self, value: usize) {
        self.op(b'J'); // BININT
        self.0.extend((value as u32).to_le_bytes());
    }

    fn global(&mut self, module: &str, name: &str) {
        self.op(b'c'); // GLOBAL
        self.0.extend(format!("{module}\n{name}\n").as_bytes());
    }

    fn tuple(&mut self, values: &[usize]) {
        self.op(b'(');
        values.iter().for_each(|&value| self.int(value));
        self.op(b't');
    }
}
