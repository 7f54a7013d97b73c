//! A GGUF file in candle's reader.

use std::fs::File;
use std::path::{Path, PathBuf};

use candle_core::Device;
use candle_core::quantized::QTensor;
use candle_core::quantized::gguf_file::Content;
use mert_arch::Config;

/// An open file.
pub(crate) struct GgufFile {
    pub(crate) content: Content,
    path: PathBuf,
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
}

/// The values of a tensor in f32.
pub(crate) fn values(tensor: &QTensor) -> Vec<f32> {
    tensor.dequantize(&Device::Cpu).unwrap().flatten_all().unwrap().to_vec1().unwrap()
}
