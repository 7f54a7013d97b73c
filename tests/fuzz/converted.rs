//! Converted safetensors files, as the runtime and the gate open them.

use mert_runtime::{ConvertedFile, DeviceKind, Dtype, Model};
use mert_testkit::fuzz::Seed;

use super::fuzz_file;

#[test]
fn converted_safetensors() {
    let device = DeviceKind::Cpu.open().unwrap();
    fuzz_file("converted", vec![Seed::fixture("mert-tiny/model.safetensors")], None, |path| {
        let Ok(file) = ConvertedFile::open(&path) else { return Ok(()) };
        // A configuration of another size must not be believed before the tensors are compared with it.
        let _ = Model::from_file(&file, Dtype::F32, &device);
        Ok(())
    });
}
