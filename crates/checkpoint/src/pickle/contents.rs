//! Access to the contents of a pickle's containers.

use super::unpickler::Unpickler;
use super::value::{Container, Value};

impl<'a> Unpickler<'a> {
    /// The identity of a value that is a container.
    pub(crate) fn container(value: &Value<'a>) -> Option<Container> {
        match *value {
            Value::Sequence(number) => Some(Container::Sequence(number)),
            Value::Dict(number) => Some(Container::Dict(number)),
            Value::Object(number) => Some(Container::Object(number)),
            _ => None,
        }
    }

    /// The items of a list or tuple, or of an object that is a list.
    pub(crate) fn items(&self, value: &Value<'a>) -> Option<&[Value<'a>]> {
        match *value {
            Value::Sequence(number) => self.sequences.get(number).map(|sequence| &sequence.items[..]),
            Value::Object(number) => {
                self.objects.get(number).map(|object| &object.items[..]).filter(|items| !items.is_empty())
            }
            _ => None,
        }
    }

    /// The entries of a dictionary, or of an object that is one (a `defaultdict`, a subclass).
    pub(crate) fn dict_of(&self, value: &Value<'a>) -> Option<&[(Value<'a>, Value<'a>)]> {
        match *value {
            Value::Dict(number) => self.dicts.get(number).map(|dict| &dict.entries[..]),
            Value::Object(number) => {
                self.objects.get(number).map(|object| &object.entries[..]).filter(|entries| !entries.is_empty())
            }
            _ => None,
        }
    }

    /// The arguments of the call that made an object.
    pub(crate) fn arguments(&self, value: &Value<'a>) -> Option<&[Value<'a>]> {
        match *value {
            Value::Object(number) => self.items(&self.objects.get(number)?.arguments),
            _ => None,
        }
    }

    /// An object's attributes.
    pub(crate) fn state(&self, value: &Value<'a>) -> Option<&Value<'a>> {
        match *value {
            Value::Object(number) => self.objects.get(number)?.state.as_ref(),
            _ => None,
        }
    }

    /// The raw elements of an array of joblib.
    pub(crate) fn raw(&self, value: &Value<'a>) -> Option<&'a [u8]> {
        match *value {
            Value::Object(number) => self.objects.get(number)?.raw,
            _ => None,
        }
    }

    /// The values directly in a container: items, keys, entries, arguments and attributes.
    pub(crate) fn within(&self, container: Container) -> impl Iterator<Item = &Value<'a>> {
        let (items, entries, object) = match container {
            Container::Sequence(number) => (&self.sequences[number].items[..], &[][..], None),
            Container::Dict(number) => (&[][..], &self.dicts[number].entries[..], None),
            Container::Object(number) => {
                let object = &self.objects[number];
                (&object.items[..], &object.entries[..], Some(object))
            }
        };
        let of_object =
            object.into_iter().flat_map(|object| [Some(&object.arguments), object.state.as_ref()]).flatten();
        items.iter().chain(entries.iter().flat_map(|(key, value)| [key, value])).chain(of_object)
    }

    /// The Python type of a value, as messages name it.
    pub(crate) fn python_type<'v>(&'v self, value: &'v Value<'a>) -> &'v str {
        match value {
            Value::Scalar(kind) => kind,
            Value::Bool(_) => "bool",
            Value::Int(_) => "int",
            Value::Float(_) => "float",
            Value::Text(_) | Value::EscapedText(_) => "str",
            Value::Bytes(_) | Value::Latin1(_) | Value::EscapedLatin1(_) => "bytes",
            Value::ByteArray(_) => "bytearray",
            Value::Global(name) => name,
            Value::Sequence(number) => self.sequences[*number].kind,
            Value::Dict(number) => self.dicts[*number].kind,
            Value::Object(number) => &self.objects[*number].class,
            Value::Storage(_) => "torch.Storage",
            Value::Tensor(_) => "torch.Tensor",
        }
    }
}
