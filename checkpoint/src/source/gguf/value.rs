//! Values of metadata keys. Strings and arrays stay views of the file.

use super::cursor::{Cursor, Problem};

/// Arrays of arrays may be nested this deep.
const MAX_DEPTH: usize = 8;

/// Type of a value, with its number in the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ValueType {
    U8 = 0,
    I8 = 1,
    U16 = 2,
    I16 = 3,
    U32 = 4,
    I32 = 5,
    F32 = 6,
    Bool = 7,
    String = 8,
    Array = 9,
    U64 = 10,
    I64 = 11,
    F64 = 12,
}

/// A value.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Value<'a> {
    U8(u8),
    I8(i8),
    U16(u16),
    I16(i16),
    U32(u32),
    I32(i32),
    U64(u64),
    I64(i64),
    F32(f32),
    F64(f64),
    Bool(bool),
    /// UTF-8, unless the writer did it wrong.
    String(&'a [u8]),
    Array(Array<'a>),
}

/// An array of values of one type.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Array<'a> {
    pub(crate) element: ValueType,
    pub(crate) len: usize,
    /// The elements as in the file.
    bytes: &'a [u8],
}

impl ValueType {
    const ALL: [Self; 13] = [
        Self::U8,
        Self::I8,
        Self::U16,
        Self::I16,
        Self::U32,
        Self::I32,
        Self::F32,
        Self::Bool,
        Self::String,
        Self::Array,
        Self::U64,
        Self::I64,
        Self::F64,
    ];

    fn read(cursor: &mut Cursor<'_>, what: &str) -> Result<Self, Problem> {
        let number = cursor.u32(what)?;
        let known = usize::try_from(number).ok().and_then(|at| Self::ALL.get(at));
        known.copied().ok_or_else(|| format!("its {what} is {number}, expected 0 to {}", Self::ALL.len() - 1))
    }

    /// Bytes of every value of this type, or the least that one takes.
    fn size(self) -> usize {
        match self {
            Self::U8 | Self::I8 | Self::Bool => 1,
            Self::U16 | Self::I16 => 2,
            Self::U32 | Self::I32 | Self::F32 => 4,
            // A string's length.
            Self::U64 | Self::I64 | Self::F64 | Self::String => 8,
            // An array's type and length.
            Self::Array => 12,
        }
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::U8 => "u8",
            Self::I8 => "i8",
            Self::U16 => "u16",
            Self::I16 => "i16",
            Self::U32 => "u32",
            Self::I32 => "i32",
            Self::U64 => "u64",
            Self::I64 => "i64",
            Self::F32 => "f32",
            Self::F64 => "f64",
            Self::Bool => "bool",
            Self::String => "string",
            Self::Array => "array",
        }
    }
}

impl<'a> Value<'a> {
    /// Reads a type and a value of it.
    pub(super) fn read(cursor: &mut Cursor<'a>) -> Result<Self, Problem> {
        let kind = ValueType::read(cursor, "type")?;
        Self::read_as(kind, cursor, 0)
    }

    fn read_as(kind: ValueType, cursor: &mut Cursor<'a>, depth: usize) -> Result<Self, Problem> {
        if kind == ValueType::String {
            return cursor.string("string").map(Self::String);
        }
        if kind == ValueType::Array {
            return Array::read(cursor, depth).map(Self::Array);
        }
        let bytes = cursor.take(kind.size(), "value")?;
        let mut number = [0; 8];
        number[..bytes.len()].copy_from_slice(bytes);
        let number = u64::from_le_bytes(number);
        // The upper bytes are zero, or belong to the number.
        Ok(match kind {
            ValueType::U8 => Self::U8(number as u8),
            ValueType::I8 => Self::I8(number as i8),
            ValueType::U16 => Self::U16(number as u16),
            ValueType::I16 => Self::I16(number as i16),
            ValueType::U32 => Self::U32(number as u32),
            ValueType::I32 => Self::I32(number as i32),
            ValueType::I64 => Self::I64(number.cast_signed()),
            ValueType::F32 => Self::F32(f32::from_bits(number as u32)),
            ValueType::F64 => Self::F64(f64::from_bits(number)),
            ValueType::Bool if number > 1 => return Err(format!("its bool is {number}, expected 0 or 1")),
            ValueType::Bool => Self::Bool(number == 1),
            ValueType::U64 | ValueType::String | ValueType::Array => Self::U64(number),
        })
    }

    /// The name of its type.
    pub(crate) fn type_name(&self) -> &'static str {
        match self {
            Self::U8(_) => ValueType::U8,
            Self::I8(_) => ValueType::I8,
            Self::U16(_) => ValueType::U16,
            Self::I16(_) => ValueType::I16,
            Self::U32(_) => ValueType::U32,
            Self::I32(_) => ValueType::I32,
            Self::U64(_) => ValueType::U64,
            Self::I64(_) => ValueType::I64,
            Self::F32(_) => ValueType::F32,
            Self::F64(_) => ValueType::F64,
            Self::Bool(_) => ValueType::Bool,
            Self::String(_) => ValueType::String,
            Self::Array(_) => ValueType::Array,
        }
        .name()
    }

    /// A whole number of whatever type that is not negative.
    pub(crate) fn to_u64(self) -> Option<u64> {
        match self {
            Self::U8(n) => Some(n.into()),
            Self::U16(n) => Some(n.into()),
            Self::U32(n) => Some(n.into()),
            Self::U64(n) => Some(n),
            Self::I8(n) => n.try_into().ok(),
            Self::I16(n) => n.try_into().ok(),
            Self::I32(n) => n.try_into().ok(),
            Self::I64(n) => n.try_into().ok(),
            _ => None,
        }
    }

    /// A string that is UTF-8.
    pub(crate) fn to_str(self) -> Option<&'a str> {
        if let Self::String(bytes) = self { std::str::from_utf8(bytes).ok() } else { None }
    }
}

impl<'a> Array<'a> {
    fn read(cursor: &mut Cursor<'a>, depth: usize) -> Result<Self, Problem> {
        if depth == MAX_DEPTH {
            return Err(format!("its arrays are nested more than {MAX_DEPTH} deep"));
        }
        let element = ValueType::read(cursor, "array's type")?;
        let len = cursor.count(element.size(), "array's length")?;
        let start = cursor.position();
        if matches!(element, ValueType::String | ValueType::Array) {
            for _ in 0..len {
                Value::read_as(element, cursor, depth + 1)?;
            }
        } else {
            cursor.take(len * element.size(), "array")?;
        }
        let bytes = cursor.seen(start..cursor.position());
        if element == ValueType::Bool
            && let Some(bad) = bytes.iter().find(|byte| **byte > 1)
        {
            return Err(format!("a bool in its array is {bad}, expected 0 or 1"));
        }
        Ok(Self { element, len, bytes })
    }

    /// Its elements.
    pub(crate) fn iter(&self) -> impl Iterator<Item = Value<'a>> + use<'a> {
        let (mut cursor, element) = (Cursor::new(self.bytes), self.element);
        // They were checked when the array was read.
        (0..self.len).map_while(move |_| Value::read_as(element, &mut cursor, 0).ok())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_numbers_of_every_type() {
        let (small, large) = (200_u64, u64::MAX);
        for (value, name, number) in [
            (Value::U8(200), "u8", Some(small)),
            (Value::U16(200), "u16", Some(small)),
            (Value::U32(200), "u32", Some(small)),
            (Value::U64(large), "u64", Some(large)),
            (Value::I8(100), "i8", Some(100)),
            (Value::I16(200), "i16", Some(small)),
            (Value::I32(200), "i32", Some(small)),
            (Value::I64(200), "i64", Some(small)),
            (Value::I8(-1), "i8", None),
            (Value::I16(-1), "i16", None),
            (Value::I32(-1), "i32", None),
            (Value::I64(-1), "i64", None),
            (Value::F32(1.0), "f32", None),
            (Value::F64(1.0), "f64", None),
            (Value::Bool(true), "bool", None),
            (Value::String(b"1"), "string", None),
            (Value::Array(Array { element: ValueType::U8, len: 0, bytes: &[] }), "array", None),
        ] {
            assert_eq!((value.type_name(), value.to_u64()), (name, number));
        }
        assert_eq!((Value::String(b"a").to_str(), Value::String(b"\xff").to_str()), (Some("a"), None));
        assert_eq!(Value::U8(1).to_str(), None);
    }

    #[test]
    fn arrays_end_where_their_numbers_end() {
        for (kind, size) in
            [(0, 1), (1, 1), (2, 2), (3, 2), (4, 4), (5, 4), (6, 4), (7, 1), (10, 8), (11, 8), (12, 8)]
        {
            let file = |bytes: usize| {
                [&9_u32.to_le_bytes()[..], &u32::to_le_bytes(kind), &3_u64.to_le_bytes(), &vec![1; bytes]]
                    .concat()
            };
            let whole = file(3 * size);
            let mut cursor = Cursor::new(&whole);
            let Ok(Value::Array(array)) = Value::read(&mut cursor) else { panic!("{kind}") };
            assert_eq!((array.iter().count(), cursor.left()), (3, 0), "{kind}");
            assert!(Value::read(&mut Cursor::new(&file(3 * size - 1))).is_err(), "{kind}");
        }
    }
}
