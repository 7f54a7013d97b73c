//! The head that `--keep final_proj` asks for: its place in the checkpoint and its size.

use mert_arch::{FINAL_PROJ, printable_line};
use mert_checkpoint::Listing;

/// A `final_proj` in a checkpoint.
#[derive(Debug, PartialEq)]
pub(super) struct FinalProj {
    /// The names of its tensors begin with this.
    pub(super) prefix: String,
    /// The number of its outputs.
    pub(super) size: usize,
}

/// Finds the linear layer `final_proj` of the encoder under `prefix`: beside the encoder or under a part of its prefix,
/// as other heads.
///
/// # Errors
/// A clause for [`crate::ConvertError::Keep`]: there is none, or another kind of head.
pub(super) fn find(listing: &Listing, prefix: &str) -> Result<FinalProj, String> {
    let shape = |name: &str| listing.tensors.get(name).map(|info| &info.shape[..]);
    let ends = prefix.match_indices('.').map(|(at, _)| at + 1);
    let bases: Vec<&str> = std::iter::once(0).chain(ends).rev().map(|end| &prefix[..end]).collect();
    let found = bases.iter().find_map(|base| Some((base, shape(&format!("{base}{FINAL_PROJ}.weight"))?)));
    let Some((base, weight)) = found else {
        let other = bases.iter().find_map(|base| {
            let starts = [format!("{base}{FINAL_PROJ}."), format!("{base}{FINAL_PROJ}s.")];
            listing.tensors.keys().find(|name| starts.iter().any(|start| name.starts_with(start)))
        });
        return Err(match other {
            // data2vec's regression head is a sequence of layers; MERT has a projection for each codebook.
            Some(name) => format!(
                "the checkpoint has `{}`, which is not one linear layer {FINAL_PROJ}.weight as in HuBERT and ContentVec",
                printable_line(name)
            ),
            None => format!(
                "the checkpoint has no `{FINAL_PROJ}.weight`: it was saved without its heads. fairseq's own file and \
                 RVC's have it"
            ),
        });
    };
    let &[size, _] = weight else {
        return Err(format!("`{base}{FINAL_PROJ}.weight` has the shape {weight:?}, expected (outputs, hidden_size)"));
    };
    // fairseq's `untie_final_proj`: a projection for each set of labels, all of the width of a label's embedding.
    match shape(&format!("{base}label_embs_concat")) {
        Some(&[_, width]) if width != size => Err(format!(
            "`{base}{FINAL_PROJ}.weight` has {size} outputs, but embeddings of labels have {width} values: it is untied \
             (untie_final_proj), with a projection for each set of labels, and which one a voice model needs is not known"
        )),
        _ => Ok(FinalProj { prefix: base.to_string(), size }),
    }
}

#[cfg(test)]
mod tests {
    use mert_checkpoint::{SourceDtype, TensorInfo};

    use super::*;

    fn listing(tensors: &[(&str, &[usize])]) -> Listing {
        let info = |shape: &[usize]| TensorInfo { dtype: SourceDtype::F32, shape: shape.to_vec() };
        let tensors = tensors.iter().map(|&(name, shape)| (name.to_string(), info(shape))).collect();
        Listing { tensors, ..Listing::default() }
    }

    #[test]
    fn it_is_beside_the_encoder_or_under_a_part_of_its_prefix() {
        for (name, base) in
            [("final_proj.weight", ""), ("a.final_proj.weight", "a."), ("a.b.final_proj.weight", "a.b.")]
        {
            let embeddings = format!("{base}label_embs_concat");
            let found = find(&listing(&[(name, &[256, 768]), (&embeddings, &[504, 256])]), "a.b.");
            assert_eq!(found, Ok(FinalProj { prefix: base.into(), size: 256 }));
        }
    }

    #[test]
    fn other_heads_are_refused_by_name() {
        let untied = [("final_proj.weight", &[512, 768][..]), ("label_embs_concat", &[1008, 256])];
        for (tensors, words) in [
            (&untied[..], "untied"),
            (&[("final_proj.0.weight", &[768, 768])], "`final_proj.0.weight`"),
            (&[("final_projs.3.weight", &[64, 768])], "`final_projs.3.weight`"),
            (&[("final_proj.weight", &[768])], "expected (outputs, hidden_size)"),
            (&[("lm_head.weight", &[32, 768])], "no `final_proj.weight`"),
        ] {
            let reason = find(&listing(tensors), "").unwrap_err();
            assert!(reason.contains(words), "{reason}");
        }
    }
}
