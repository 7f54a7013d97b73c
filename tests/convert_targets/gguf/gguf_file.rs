//! A GGUF file in candle's reader, with the positions of its blocks, to damage them.

use std::fs::{self, File};
use std::path::Path;

use candle_core::Device;
use candle_core::quantized::QTensor;
use candle_core::quantized::gguf_file::Content;
use mert_arch::Config;

/// An open file.
pub(crate) struct GgufFile {
    pub(crate) content: Content,
    path: std::path::PathBuf,
}

impl GgufFile {
    pub(crate) fn open(path: &Path) -> GgufFile {
        let content = Content::read(&mut File::open(path).unwrap()).unwrap();
        GgufFile { content, path: path.to_path_buf() }
    }

    pub(crate) fn config(&self) -> Config {
        Config::from_json(self.content.metadata["mert_convert.config"].to_string().unwrap()).unwrap()
    }

    pub(crate) fn tensor(&self, name: &str) -> QTensor {
        self.content.tensor(&mut File::open(&self.path).unwrap(), name, &Device::Cpu).unwrap()
    }

    /// Changes the bytes of a tensor's data in the file.
    pub(crate) fn change(&self, name: &str, change: impl FnOnce(&mut [u8])) {
        let mut bytes = fs::read(&self.path).unwrap();
        let info = &self.content.tensor_infos[name];
        let start = (self.content.tensor_data_offset + info.offset) as usize;
        let values = info.shape.elem_count();
        let len = values / info.ggml_dtype.block_size() * info.ggml_dtype.type_size();
        change(&mut bytes[start..start + len]);
        fs::write(&self.path, bytes).unwrap();
    }
}

/// The values of a tensor in f32.
pub(crate) fn values(tensor: &QTensor) -> Vec<f32> {
    tensor.dequantize(&Device::Cpu).unwrap().flatten_all().unwrap().to_vec1().unwrap()
}
