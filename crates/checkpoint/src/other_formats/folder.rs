//! Recognition of folders without readable weights, by the names of their files.

use std::path::Path;

use crate::commands::{command, python_literal};
use crate::paths::or_current;

/// A kind of folder, identified by a file name, and what to do with it.
struct Kind {
    has_file: fn(&str) -> bool,
    what: &'static str,
    fix: &'static str,
}

/// The advice for distributed checkpoints.
pub(super) const DCP_TO_TORCH: &str =
    "merge it into one file: `python -m torch.distributed.checkpoint.format_utils dcp_to_torch {path} checkpoint.pt`";
const MERGE_ADAPTER: &str = "give the model that it changes, and this folder with --adapter {path} (mert-convert); or merge it in Python: `m = \
     PeftModel.from_pretrained(HubertModel.from_pretrained(BASE), {python})`, \
     `m.merge_and_unload().save_pretrained(\"merged\")`, and give the folder `merged`";
const ORIGINAL: &str = "give the PyTorch checkpoint that it was made from";

/// The kinds in order of precedence: a folder may match several.
const KINDS: &[Kind] = &[
    Kind {
        has_file: |name| name == ".metadata" || name.ends_with(".distcp"),
        what: "a distributed checkpoint (torch.distributed.checkpoint)",
        fix: DCP_TO_TORCH,
    },
    Kind {
        has_file: |name| name == "zero_to_fp32.py",
        what: "a DeepSpeed checkpoint in parts",
        fix: "merge them: `python {path}/zero_to_fp32.py {path} output`, and give the folder `output`",
    },
    Kind {
        has_file: |name| name.ends_with("_optim_states.pt") || name.ends_with("_model_states.pt"),
        what: "a step of a DeepSpeed checkpoint",
        fix: "give `mp_rank_00_model_states.pt` if the weights are whole (ZeRO 1 and 2); else merge the parts with \
              the zero_to_fp32.py of the folder above: `python zero_to_fp32.py . output`",
    },
    Kind {
        has_file: |name| name == "adapter_config.json" || name.starts_with("adapter_model."),
        what: "an adapter of PEFT (LoRA), which has no weights of the model itself",
        fix: MERGE_ADAPTER,
    },
    Kind { has_file: |name| name == "saved_model.pb", what: "a TensorFlow SavedModel", fix: ORIGINAL },
    Kind {
        has_file: |name| name == "Manifest.json" || name == "coremldata.bin",
        what: "a Core ML package",
        fix: ORIGINAL,
    },
    Kind { has_file: |name| name == "flax_model.msgpack", what: "a Flax model", fix: ORIGINAL },
    Kind { has_file: |name| name == "tf_model.h5", what: "a TensorFlow model", fix: ORIGINAL },
    Kind { has_file: |name| name.ends_with(".onnx"), what: "an ONNX model", fix: ORIGINAL },
    Kind { has_file: |name| name.ends_with(".gguf"), what: "a GGUF model", fix: ORIGINAL },
    Kind {
        has_file: |name| name == "_CHECKPOINT_METADATA" || name == "ocdbt",
        what: "an Orbax (JAX) checkpoint",
        fix: ORIGINAL,
    },
];

/// A sentence about the kind of a folder that is not a model's, and what to do; `None` if it is unknown.
pub(crate) fn folder_kind(folder: &Path) -> Option<String> {
    let names: Vec<String> = std::fs::read_dir(folder)
        .ok()?
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    let kind = KINDS.iter().find(|kind| names.iter().any(|name| (kind.has_file)(name)))?;
    Some(format!("it is {}; {}", kind.what, advice(kind.fix, folder)))
}

/// A sentence with `{path}` and `{python}` replaced by the folder, quoted for the shell and for Python.
fn advice(text: &str, folder: &Path) -> String {
    let folder = or_current(folder);
    command(text, folder).replace("{python}", &python_literal(&folder.display().to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_are_recognized_by_their_files() {
        for (file, words) in [
            (".metadata", &["distributed checkpoint", "dcp_to_torch"][..]),
            ("__0_0.distcp", &["dcp_to_torch"]),
            ("zero_to_fp32.py", &["DeepSpeed", "zero_to_fp32.py"]),
            ("bf16_zero_pp_rank_0_mp_rank_00_optim_states.pt", &["DeepSpeed"]),
            ("adapter_config.json", &["PEFT", "merge_and_unload"]),
            ("saved_model.pb", &["TensorFlow"]),
            ("model.onnx", &["ONNX"]),
        ] {
            let folder = tempfile::TempDir::new().unwrap();
            std::fs::write(folder.path().join(file), b"").unwrap();
            let message = folder_kind(folder.path()).unwrap();
            assert!(words.iter().all(|word| message.contains(word)), "{message}");
        }
        assert_eq!(folder_kind(tempfile::TempDir::new().unwrap().path()), None);
    }
}
