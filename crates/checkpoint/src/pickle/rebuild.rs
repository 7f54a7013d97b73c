//! Known calls in pickles: PyTorch's tensor rebuild functions, storages by persistent id, and dictionaries
//! (`torch/_utils.py`, `torch/_tensor.py`, `torch/serialization.py`).

use std::rc::Rc;

use super::dtypes::{of_storage_class, of_torch_dtype};
use super::unpickler::{CONTAINER_VALUES, Unpickler};
use super::value::{Object, Storage, Value, View};

impl<'a> Unpickler<'a> {
    /// The value of a call. Nothing is executed.
    pub(super) fn call(&mut self, callable: Value<'a>, arguments: Value<'a>) -> Value<'a> {
        let (mut callable, mut arguments) = (callable, arguments);
        // Tensors with attributes and tensor subclasses wrap another call with the same values.
        for _ in 0..4 {
            let Value::Global(name) = &callable else { break };
            if !matches!(&**name, "torch._tensor._rebuild_from_type_v2" | "torch._tensor._rebuild_from_type") {
                break;
            }
            let Some([inner, _, inner_arguments, ..]) = self.items(&arguments) else { break };
            (callable, arguments) = (inner.clone(), inner_arguments.clone());
        }
        let Value::Global(name) = callable else { return self.object("the result of a call".into(), arguments) };
        self.known(&name, &arguments).unwrap_or_else(|| self.object(name, arguments))
    }

    /// The value of a call of a known class or function.
    fn known(&mut self, name: &str, arguments: &Value<'a>) -> Option<Value<'a>> {
        let given = self.items(arguments)?;
        match (name, given) {
            ("collections.OrderedDict", []) => Some(self.dict("collections.OrderedDict", Vec::new())),
            // A list of pairs, as in protocols 0 and 1.
            ("collections.OrderedDict", [pairs]) => {
                let pair = |pair: &Value<'a>| match self.items(pair) {
                    Some([key, value]) => Some((key.clone(), value.clone())),
                    _ => None,
                };
                let entries: Vec<_> = self.items(pairs)?.iter().map(pair).collect::<Option<_>>()?;
                // The same list may be passed repeatedly.
                self.values = self.values.saturating_add(entries.len());
                Some(self.dict("collections.OrderedDict", entries))
            }
            ("builtins.dict", []) => Some(self.dict("dict", Vec::new())),
            ("builtins.list", []) => Some(self.sequence("list", Vec::new())),
            ("torch.Size" | "builtins.list" | "builtins.tuple" | "builtins.set" | "builtins.frozenset", [items]) => {
                self.items(items).is_some().then(|| items.clone())
            }
            ("_codecs.encode", [Value::Text(text), Value::Text("latin1")]) => Some(Value::Latin1(text)),
            ("_codecs.encode", [Value::EscapedText(text), Value::Text("latin1")]) => Some(Value::EscapedLatin1(text)),
            ("_codecs.encode", _) => Some(Value::Scalar("bytes")),
            ("copyreg._reconstructor" | "copyreg.__newobj__" | "copyreg.__newobj_ex__", [Value::Global(class), ..]) => {
                let class = Rc::clone(class);
                Some(self.object(class, arguments.clone()))
            }
            // The result is an instance of the given class: a numpy array, a tensor that wraps others.
            (function, [Value::Global(class), ..])
                if function.ends_with(".multiarray._reconstruct")
                    || function == "torch._utils._rebuild_wrapper_subclass" =>
            {
                let class = Rc::clone(class);
                Some(self.object(class, arguments.clone()))
            }
            (function, _) if function.ends_with(".numeric._frombuffer") => {
                Some(self.object("numpy.ndarray".into(), arguments.clone()))
            }
            _ => self.tensor(name.strip_prefix("torch._utils.")?, given),
        }
    }

    /// The tensor that a function of `torch._utils` rebuilds.
    fn tensor(&self, function: &str, arguments: &[Value<'a>]) -> Option<Value<'a>> {
        let (view, metadata) = match (function, arguments) {
            (
                "_rebuild_parameter" | "_rebuild_parameter_with_state" | "_rebuild_device_tensor_from_cpu_tensor",
                [tensor @ Value::Tensor(_), ..],
            ) => return Some(tensor.clone()),
            ("_rebuild_tensor", [Value::Storage(storage), rest @ ..]) => (self.view(storage, None, rest)?, None),
            ("_rebuild_tensor_v2", [Value::Storage(storage), offset, shape, strides, _, _, metadata @ ..]) => {
                (self.view(storage, None, &[offset.clone(), shape.clone(), strides.clone()])?, metadata.first())
            }
            (
                "_rebuild_tensor_v3",
                [Value::Storage(storage), offset, shape, strides, _, _, Value::Global(dtype), metadata @ ..],
            ) => {
                let geometry = [offset.clone(), shape.clone(), strides.clone()];
                (self.view(storage, Some(dtype), &geometry)?, metadata.first())
            }
            _ => return None,
        };
        let transform = metadata.and_then(|metadata| self.transform(metadata));
        Some(Value::Tensor(View { transform, ..view }.into()))
    }

    /// A view of a storage: offset, shape and strides, in elements.
    fn view(&self, storage: &Rc<Storage<'a>>, dtype: Option<&str>, geometry: &[Value<'a>]) -> Option<View<'a>> {
        let [Value::Int(offset), shape, strides] = geometry else { return None };
        let (dtype, element_size) = match dtype {
            None => (storage.dtype.clone(), storage.element_size),
            Some(dtype) => of_torch_dtype(dtype),
        };
        let (shape, strides) = (self.sizes(shape)?, self.sizes(strides)?);
        let offset = usize::try_from(*offset).ok()?;
        let same = shape.len() == strides.len();
        same.then(|| View { storage: Rc::clone(storage), dtype, element_size, offset, shape, strides, transform: None })
    }

    /// The extents or strides in a tuple.
    fn sizes(&self, value: &Value<'a>) -> Option<Vec<usize>> {
        let size = |item: &Value<'a>| match item {
            Value::Int(size) => usize::try_from(*size).ok(),
            _ => None,
        };
        // PyTorch's own limit on dimensions.
        self.items(value).filter(|sizes| sizes.len() <= 64)?.iter().map(size).collect()
    }

    /// The transformation of stored values that the last argument of `_rebuild_tensor_v2` requires: `{"neg": True}` of
    /// a lazily negated view, or an unknown name.
    fn transform(&self, metadata: &Value<'a>) -> Option<String> {
        self.dict_of(metadata)?.iter().find_map(|(key, value)| match (key, value) {
            (_, Value::Bool(false) | Value::Scalar("None")) => None,
            (Value::Text(key), _) => Some(key.to_string()),
            _ => Some("metadata".to_string()),
        })
    }

    /// The object for a persistent id of `torch.save`: `("storage", class, key, location, elements)`, in legacy files
    /// followed by a view `(key, first element, elements)` or None; or `("module", class, file, source)`.
    pub(super) fn persistent(&mut self, id: &Value<'a>) -> Value<'a> {
        match self.items(id) {
            Some([Value::Text("module"), class @ Value::Global(_), ..]) => class.clone(),
            Some(id) => match self.storage(id) {
                Some(storage) => {
                    let storage = Rc::new(storage);
                    self.storages.entry(storage.key).or_insert_with(|| Rc::clone(&storage));
                    Value::Storage(storage)
                }
                None => Value::Scalar("a persistent object"),
            },
            None => Value::Scalar("a persistent object"),
        }
    }

    /// The storage that a persistent id names.
    fn storage(&self, id: &[Value<'a>]) -> Option<Storage<'a>> {
        let [Value::Text("storage"), Value::Global(class), Value::Text(key), _, Value::Int(elements), view @ ..] = id
        else {
            return None;
        };
        let (dtype, element_size) = of_storage_class(class.rsplit('.').next()?)?;
        let start = match view {
            [] | [Value::Scalar("None")] => 0,
            [view] => match self.items(view)? {
                [_, Value::Int(start), _] => usize::try_from(*start).ok()?,
                _ => return None,
            },
            _ => return None,
        };
        let elements = usize::try_from(*elements).ok()?;
        Some(Storage { key, dtype, element_size, elements, start })
    }

    /// A new opaque object.
    fn object(&mut self, class: Rc<str>, arguments: Value<'a>) -> Value<'a> {
        self.values = self.values.saturating_add(CONTAINER_VALUES);
        self.objects.push(Object { class, arguments, items: Vec::new(), entries: Vec::new(), state: None, raw: None });
        Value::Object(self.objects.len() - 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A persistent id in the form of `torch/serialization.py`, followed by the pickled `view`.
    fn storage_start(view: &[u8]) -> Option<usize> {
        let id = b"(X\x07\0\0\0storagectorch\nFloatStorage\nX\x01\0\0\0kX\x03\0\0\0cpuK\x0a";
        let pickle = [&id[..], view, b"tQ."].concat();
        match Unpickler::new(&pickle).load().unwrap() {
            Value::Storage(storage) => Some(storage.start),
            _ => None,
        }
    }

    #[test]
    fn storages_that_are_views_of_others() {
        assert_eq!(storage_start(b""), Some(0));
        assert_eq!(storage_start(b"N"), Some(0));
        assert_eq!(storage_start(b"(X\x01\0\0\0vK\x04K\x03t"), Some(4));
        for view in [&b"(X\x01\0\0\0vK\x04t"[..], b"K\x04", b"NN", b"(NNNt"] {
            assert_eq!(storage_start(view), None, "{view:?}");
        }
    }

    #[test]
    fn metadata_that_changes_values_is_kept() {
        for (metadata, expected) in [
            (&b""[..], None),
            (b"}", None),
            (b"}X\x03\0\0\0neg\x89s", None),
            (b"}X\x03\0\0\0neg\x88s", Some("neg")),
            (b"}X\x0a\0\0\0npu_formatK\x1ds", Some("npu_format")),
            (b"}K\x01K\x01s", Some("metadata")),
        ] {
            let storage = b"(X\x07\0\0\0storagectorch\nFloatStorage\nX\x01\0\0\0kX\x03\0\0\0cpuK\x0atQ";
            let start = [b"ctorch._utils\n_rebuild_tensor_v2\n(", &storage[..], b"K\0K\x02\x85K\x01\x85\x89N"].concat();
            let pickle = [&start[..], metadata, b"tR."].concat();
            let Value::Tensor(view) = Unpickler::new(&pickle).load().unwrap() else { panic!("{metadata:?}") };
            assert_eq!(view.transform.as_deref(), expected, "{metadata:?}");
        }
    }
}
