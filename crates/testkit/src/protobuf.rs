//! An editor of protobuf messages that needs no definitions.

/// The fields of a protobuf message of unknown type, in their order.
///
/// It is parsed by the encoding alone (<https://protobuf.dev/programming-guides/encoding/>), so that a test's changes do not
/// depend on the definitions of the writer or the reader under test.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Message(pub Vec<(u64, Field)>);

/// The content of a field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Field {
    /// An integer, a bool or an enumerator.
    Varint(u64),
    /// Eight bytes.
    Fixed64([u8; 8]),
    /// A string, bytes, a message, or packed numbers.
    Bytes(Vec<u8>),
    /// Four bytes.
    Fixed32([u8; 4]),
}

impl Message {
    /// Parses a message; `None` for bytes that are not one.
    pub fn parse(mut bytes: &[u8]) -> Option<Self> {
        let mut fields = Vec::new();
        while !bytes.is_empty() {
            let key = take_varint(&mut bytes)?;
            let field = match key & 7 {
                0 => Field::Varint(take_varint(&mut bytes)?),
                1 => Field::Fixed64(take(&mut bytes, 8)?.try_into().ok()?),
                2 => {
                    let length = usize::try_from(take_varint(&mut bytes)?).ok()?;
                    Field::Bytes(take(&mut bytes, length)?.to_vec())
                }
                5 => Field::Fixed32(take(&mut bytes, 4)?.try_into().ok()?),
                _ => return None,
            };
            fields.push((key >> 3, field));
        }
        Some(Message(fields))
    }

    /// The encoded message.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        for (number, field) in &self.0 {
            let (wire_type, content) = match field {
                Field::Varint(value) => (0, varint(*value)),
                Field::Fixed64(content) => (1, content.to_vec()),
                Field::Bytes(content) => (2, [varint(content.len() as u64), content.clone()].concat()),
                Field::Fixed32(content) => (5, content.to_vec()),
            };
            bytes.extend(varint(number << 3 | wire_type));
            bytes.extend(content);
        }
        bytes
    }

    /// The text of the first field of this number.
    pub fn text(&self, number: u64) -> Option<&str> {
        match self.field(number)? {
            Field::Bytes(bytes) => std::str::from_utf8(bytes).ok(),
            _ => None,
        }
    }

    /// The message in the first field of this number.
    pub fn message(&self, number: u64) -> Option<Message> {
        match self.field(number)? {
            Field::Bytes(bytes) => Message::parse(bytes),
            _ => None,
        }
    }

    fn field(&self, number: u64) -> Option<&Field> {
        self.0.iter().find(|(found, _)| *found == number).map(|(_, field)| field)
    }

    /// Replaces the first field of this number, or adds one.
    pub fn set(&mut self, number: u64, field: Field) {
        match self.0.iter_mut().find(|(found, _)| *found == number) {
            Some((_, existing)) => *existing = field,
            None => self.0.push((number, field)),
        }
    }

    /// Replaces or adds a text.
    pub fn set_text(&mut self, number: u64, text: &str) {
        self.set(number, Field::Bytes(text.as_bytes().to_vec()));
    }

    /// Replaces or adds a message.
    pub fn set_message(&mut self, number: u64, message: &Message) {
        self.set(number, Field::Bytes(message.encode()));
    }

    /// Removes every field of this number.
    pub fn remove(&mut self, number: u64) {
        self.0.retain(|(found, _)| *found != number);
    }

    /// Changes the message in the first field of this number.
    ///
    /// # Panics
    /// If there is none.
    pub fn edit(&mut self, number: u64, change: impl FnOnce(&mut Message)) {
        let mut message = self.message(number).unwrap_or_else(|| panic!("no message in field {number} of {self:?}"));
        change(&mut message);
        self.set_message(number, &message);
    }

    /// Changes each message in fields of this number.
    pub fn edit_each(&mut self, number: u64, mut change: impl FnMut(&mut Message)) {
        for (_, field) in self.0.iter_mut().filter(|(found, _)| *found == number) {
            if let Field::Bytes(bytes) = field
                && let Some(mut message) = Message::parse(bytes)
            {
                change(&mut message);
                *bytes = message.encode();
            }
        }
    }

    /// Changes the message under a key of the map in fields of this number.
    ///
    /// # Panics
    /// If the map has no such key.
    pub fn edit_entry(&mut self, map: u64, key: &str, change: impl FnOnce(&mut Message)) {
        let mut change = Some(change);
        self.edit_each(map, |entry| {
            if entry.text(1) == Some(key)
                && let Some(change) = change.take()
            {
                entry.edit(2, change);
            }
        });
        assert!(change.is_none(), "map {map} has no key `{key}`");
    }

    /// Removes a key from the map in fields of this number.
    pub fn remove_entry(&mut self, map: u64, key: &str) {
        let has_key = |field: &Field| match field {
            Field::Bytes(bytes) => Message::parse(bytes).is_some_and(|entry| entry.text(1) == Some(key)),
            _ => false,
        };
        self.0.retain(|(number, field)| *number != map || !has_key(field));
    }
}

/// Numbers as a packed field.
pub fn packed(values: &[i32]) -> Field {
    // Negative numbers take the ten bytes of their 64 bits.
    Field::Bytes(values.iter().flat_map(|&value| varint(i64::from(value).cast_unsigned())).collect())
}

fn varint(mut value: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while value >= 0x80 {
        bytes.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
    bytes
}

fn take_varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let byte = take(bytes, 1)?[0];
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

fn take<'b>(bytes: &mut &'b [u8], length: usize) -> Option<&'b [u8]> {
    let (taken, rest) = bytes.split_at_checked(length)?;
    *bytes = rest;
    Some(taken)
}
