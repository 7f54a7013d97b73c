//! Python types of objects in place of tensors, and how to convert them to tensors.

/// The type of a lazily negated view in [`Listing::non_tensors`](crate::Listing::non_tensors).
pub const NEGATED_VIEW: &str = "negated view";

/// A part of a class or function name, a description of its objects, and how to convert these to tensors.
const KINDS: &[(&str, &str, &str)] = &[
    (
        "DTensor",
        "one rank's shard of a distributed tensor",
        "save the whole model on rank 0 with torch.distributed.checkpoint.state_dict.get_model_state_dict(model, \
         options=StateDictOptions(full_state_dict=True)), or call full_tensor() on each",
    ),
    (
        "ShardedTensor",
        "one rank's shard of a distributed tensor",
        "save the whole model with FullStateDictConfig: FSDP.set_state_dict_type(model, StateDictType.FULL_STATE_DICT)",
    ),
    (
        "_rebuild_meta_tensor",
        "a tensor on the meta device, which holds no data",
        "load the weights into the model (to_empty, then load_state_dict) and save it again",
    ),
    ("_rebuild_qtensor", "a quantized tensor", "save the float model, from before it was quantized"),
    ("PackedParams", "a quantized layer's packed weights", "save the float model, from before it was quantized"),
    ("bitsandbytes", "a quantized tensor", "save the float model, from before it was quantized"),
    ("torchao", "a quantized tensor", "save the float model, from before it was quantized"),
    (
        "torch._utils._rebuild_tensor",
        "a tensor written by pickle.dump, or in protocol 0 or 1",
        "load the file in Python and save it with torch.save without pickle_protocol",
    ),
    ("_rebuild_sparse", "a sparse tensor", "save it again after tensor.to_dense()"),
    ("_rebuild_nested", "a nested tensor", "save it again after tensor.to_padded_tensor(0.0)"),
    ("ndarray", "a numpy array", "make tensors of the arrays with torch.from_numpy, and torch.save them"),
    ("numpy.", "a value of numpy", "make tensors of the arrays with torch.from_numpy, and torch.save them"),
    (
        "_load_from_bytes",
        "a tensor written by pickle.dump",
        "load it in Python with pickle.load and save it with torch.save",
    ),
];

/// A description of an object in place of a tensor, and what to do, by its Python type; `None` if the type is unknown.
pub fn object_advice(kind: &str) -> Option<(&'static str, &'static str)> {
    KINDS.iter().find(|(part, ..)| kind.contains(part)).map(|(_, what, fix)| (*what, *fix))
}
