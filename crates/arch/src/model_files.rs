//! Names of the files of a model folder, as transformers and PEFT write them.

/// Files that hold the weights, in transformers' order of preference.
pub const WEIGHT_FILES: [&str; 4] =
    ["model.safetensors", "model.safetensors.index.json", "pytorch_model.bin", "pytorch_model.bin.index.json"];

/// The architecture.
pub const CONFIG_FILE: &str = "config.json";

/// Files under which transformers saves a preprocessor. A model may have both.
pub const PREPROCESSOR_FILES: [&str; 2] = ["preprocessor_config.json", "processor_config.json"];

/// The file by which transformers finds an adapter of PEFT beside a model.
pub const ADAPTER_CONFIG_FILE: &str = "adapter_config.json";
