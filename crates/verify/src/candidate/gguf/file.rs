//! GGUF files of mert-convert, read by candle's own reader: the metadata, and the tensors as f32.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use candle_core::quantized::GgmlDType;
use candle_core::quantized::gguf_file::{Content, TensorInfo, Value};
use candle_core::{Device, Tensor};
use mert_arch::{
    Dtype, Encoding, Metadata, Quantization, QuantizationConfig, QuantizationMode, Role, TensorSpec, printable_line,
};

/// The namespace of mert-convert's keys. After it come the keys of a converted safetensors file.
const NAMESPACE: &str = "mert_convert";

/// The value of `general.file_type` for a file whose matrices are `Q8_0`.
const MOSTLY_Q8_0: u32 = 7;

/// A GGUF file that mert-convert wrote.
pub(super) struct GgufFile {
    path: PathBuf,
    metadata: Metadata,
    is_q8_0: bool,
    content: Content,
}

impl GgufFile {
    /// Opens a file and checks that it holds the tensors that its configuration implies, with their shapes and types.
    ///
    /// # Errors
    /// The field or tensor at fault, what was expected and what was found.
    pub(super) fn open(path: &Path) -> Result<Self, String> {
        let file = File::open(path).map_err(|error| error.to_string())?;
        let mut reader = BufReader::new(file);
        check_alignment(&mut reader)?;
        let content = Content::read(&mut reader).map_err(|error| format!("candle cannot read it: {error}"))?;
        let lookup = |key: &str| match content.metadata.get(&format!("{NAMESPACE}.{key}")) {
            Some(Value::String(value)) => Some(value.as_str()),
            _ => None,
        };
        let metadata = Metadata::from_lookup(lookup).map_err(|error| error.to_string())?;
        let is_q8_0 = matches!(content.metadata.get("general.file_type"), Some(Value::U32(MOSTLY_Q8_0)));
        let file = GgufFile { path: path.to_path_buf(), metadata, is_q8_0, content };
        file.check_tensors()?;
        Ok(file)
    }

    pub(super) fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The number of linear layers in blocks of ggml's `Q8_0`, and MLX's quantization that is as precise: 8 bits in groups of 32
    /// have the same number of steps between the ends of a group. `None` if there are none.
    pub(super) fn q8_0_layers(&self) -> Option<(usize, QuantizationConfig)> {
        let default = Quantization::new(QuantizationMode::Affine, 8, 32).ok()?;
        let specs = self.metadata.inventory().into_iter().filter(|spec| spec.role == Role::Linear);
        let (q8_0, floats): (Vec<_>, Vec<_>) = specs.partition(|spec| self.is_q8_0(&spec.name));
        let module = |spec: TensorSpec| (spec.name.trim_end_matches(".weight").to_string(), None);
        let layers: BTreeMap<_, _> = floats.into_iter().map(module).collect();
        (!q8_0.is_empty()).then_some((q8_0.len(), QuantizationConfig { default, layers }))
    }

    /// Whether a tensor is in blocks of ggml's `Q8_0`.
    pub(super) fn is_q8_0(&self, name: &str) -> bool {
        self.content.tensor_infos.get(name).is_some_and(|info| info.ggml_dtype == GgmlDType::Q8_0)
    }

    /// Reads a tensor, dequantized to f32.
    ///
    /// # Errors
    /// The system's or candle's, with the tensor's name.
    pub(super) fn tensor(&self, name: &str) -> Result<Tensor, String> {
        let read = || {
            let mut reader = File::open(&self.path)?;
            self.content.tensor(&mut reader, name, &Device::Cpu)?.dequantize(&Device::Cpu)
        };
        read().map_err(|error| format!("tensor `{name}`: {error}"))
    }

    /// Reads all tensors, dequantized to f32.
    ///
    /// # Errors
    /// As for [`GgufFile::tensor`].
    pub(super) fn tensors(&self) -> Result<HashMap<String, Tensor>, String> {
        let names = self.metadata.inventory().into_iter().map(|spec| spec.name);
        names.map(|name| Ok((name.clone(), self.tensor(&name)?))).collect()
    }

    fn check_tensors(&self) -> Result<(), String> {
        let mut found: HashMap<&str, &TensorInfo> =
            self.content.tensor_infos.iter().map(|(name, info)| (name.as_str(), info)).collect();
        for spec in self.metadata.inventory() {
            let name = &spec.name;
            let info = found.remove(name.as_str()).ok_or_else(|| format!("tensor `{name}` is missing"))?;
            if info.shape.dims() != spec.shape {
                return Err(format!("tensor `{name}` has shape {:?}, expected {:?}", info.shape.dims(), spec.shape));
            }
            let expected = self.types(&spec)?;
            if !expected.contains(&info.ggml_dtype) {
                return Err(format!("tensor `{name}` has type {:?}, expected {:?}", info.ggml_dtype, expected[0]));
            }
        }
        match found.into_keys().min() {
            Some(name) => Err(format!("tensor `{}` is not part of the model", printable_line(name))),
            None => Ok(()),
        }
    }

    /// The types in which a tensor may be stored, the likely one first.
    fn types(&self, spec: &TensorSpec) -> Result<Vec<GgmlDType>, String> {
        let float = match self.metadata.dtype {
            Dtype::F16 => GgmlDType::F16,
            Dtype::Bf16 => GgmlDType::BF16,
            Dtype::F32 => GgmlDType::F32,
        };
        match self.metadata.encoding(spec) {
            Encoding::Float(_) if self.is_q8_0 && spec.role == Role::Linear => Ok(vec![GgmlDType::Q8_0, float]),
            Encoding::Float(_) => Ok(vec![float]),
            Encoding::Quantized {
                quantization: Quantization { mode: QuantizationMode::Affine, bits: 4, group_size: 32 | 64 },
                float: Dtype::F16,
            } => Ok(vec![GgmlDType::Q4_1]),
            Encoding::Quantized { quantization, float } => Err(format!(
                "tensor `{}` is {quantization} with {float} scales in the metadata, which no type of GGUF holds",
                spec.name
            )),
        }
    }
}

/// Refuses an alignment of zero, by which candle's reader would divide.
fn check_alignment(reader: &mut BufReader<File>) -> Result<(), String> {
    const KEY: &[u8] = b"general.alignment";
    /// The metadata of a converted file has some kilobytes.
    const SEARCHED: u64 = 1 << 20;
    let mut start = Vec::new();
    let read = reader.by_ref().take(SEARCHED).read_to_end(&mut start).and_then(|_| reader.seek(SeekFrom::Start(0)));
    read.map_err(|error| error.to_string())?;
    let Some(at) = start.windows(KEY.len()).position(|window| window == KEY) else { return Ok(()) };
    // The key is followed by the number of the value's type, then the value.
    let (kind, value) = start[at + KEY.len()..].split_at_checked(4).unwrap_or_default();
    let size = match kind {
        [0 | 1, 0, 0, 0] => 1,
        [2 | 3, 0, 0, 0] => 2,
        _ => 4,
    };
    if value.iter().take(size).all(|&byte| byte == 0) {
        return Err("general.alignment is zero".into());
    }
    Ok(())
}
