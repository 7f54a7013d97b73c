//! Recognition of folders without readable weights, by the names of their files.

use std::path::Path;

use super::signature::{command, python_literal};

/// A file name that identifies a kind of folder, and what to do.
struct Mark {
    found: fn(&str) -> bool,
    what: &'static str,
    fix: &'static str,
}

pub(super) const DCP_TO_TORCH: &str =
    "make one file of it: `python -m torch.distributed.checkpoint.format_utils dcp_to_torch {path} checkpoint.pt`";
const MERGE_ADAPTER: &str = "merge it into its model in Python: `m = PeftModel.from_pretrained(HubertModel.from_pretrained(BASE), {python})`, \
     `m.merge_and_unload().save_pretrained(\"merged\")`, and give the folder `merged`";
const ORIGINAL: &str = "give the PyTorch checkpoint that it was made from";

/// Marks in order of precedence: a folder may have several.
const MARKS: &[Mark] = &[
    Mark {
        found: |name| name == ".metadata" || name.ends_with(".distcp"),
        what: "a distributed checkpoint (torch.distributed.checkpoint)",
        fix: DCP_TO_TORCH,
    },
    Mark {
        found: |name| name == "zero_to_fp32.py",
        what: "a DeepSpeed checkpoint in parts",
        fix: "put them together: `python {path}/zero_to_fp32.py {path} output`, and give the folder `output`",
    },
    Mark {
        found: |name| name.ends_with("_optim_states.pt") || name.ends_with("_model_states.pt"),
        what: "a step of a DeepSpeed checkpoint",
        fix: "give `mp_rank_00_model_states.pt` if the weights are whole (ZeRO 1 and 2); else put the parts together with \
              the zero_to_fp32.py of the folder above: `python zero_to_fp32.py . output`",
    },
    Mark {
        found: |name| name == "adapter_config.json" || name.starts_with("adapter_model."),
        what: "an adapter of PEFT (LoRA), which has no weights of the model itself",
        fix: MERGE_ADAPTER,
    },
    Mark { found: |name| name == "saved_model.pb", what: "a TensorFlow SavedModel", fix: ORIGINAL },
    Mark {
        found: |name| name == "Manifest.json" || name == "coremldata.bin",
        what: "a Core ML package",
        fix: ORIGINAL,
    },
    Mark { found: |name| name == "flax_model.msgpack", what: "a Flax model", fix: ORIGINAL },
    Mark { found: |name| name == "tf_model.h5", what: "a TensorFlow model", fix: ORIGINAL },
    Mark { found: |name| name.ends_with(".onnx"), what: "an ONNX model", fix: ORIGINAL },
    Mark { found: |name| name.ends_with(".gguf"), what: "a GGUF model", fix: ORIGINAL },
    Mark {
        found: |name| name == "_CHECKPOINT_METADATA" || name == "ocdbt",
        what: "an Orbax (JAX) checkpoint",
        fix: ORIGINAL,
    },
];

/// The kind of a folder that is not a model's, and what to do; `None` if it is unknown.
pub(crate) fn what_else(folder: &Path) -> Option<String> {
    let names: Vec<String> = std::fs::read_dir(folder)
        .ok()?
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    let mark = MARKS.iter().find(|mark| names.iter().any(|name| (mark.found)(name)))?;
    Some(format!("it is {}; {}", mark.what, advice(mark.fix, folder)))
}

/// How to merge the adapter in a folder into its model.
pub(crate) fn merge_adapter(folder: &Path) -> String {
    advice(MERGE_ADAPTER, folder)
}

/// A sentence with `{path}` and `{python}` replaced by the folder, quoted for the shell and for Python.
fn advice(text: &str, folder: &Path) -> String {
    let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    command(text, folder).replace("{python}", &python_literal(&folder.display().to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_are_told_by_their_files() {
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
            let said = what_else(folder.path()).unwrap();
            assert!(words.iter().all(|word| said.contains(word)), "{said}");
        }
        assert_eq!(what_else(tempfile::TempDir::new().unwrap().path()), None);
    }
}
