//! GGUF files made by hand, sound or not.
#![allow(dead_code, missing_docs)] // each test binary uses a part of it

use phlora_core::Dtype;
use std::fs;
use std::path::Path;

/// Numbers of value types in the file.
pub const U16: u32 = 2;
pub const U32: u32 = 4;
pub const I32: u32 = 5;
pub const BOOL: u32 = 7;
pub const STRING: u32 = 8;
pub const ARRAY: u32 = 9;

/// A file on its way to the disk. What is wrong in it is put there field by field.
#[derive(Debug, Clone)]
pub struct Gguf {
    pub version: u32,
    /// Padding between tensors; the key is written where it is not 32.
    pub alignment: usize,
    /// Key, number of the type, value as in the file.
    pub keys: Vec<(Vec<u8>, u32, Vec<u8>)>,
    pub tensors: Vec<GgufTensor>,
    /// Instead of the real numbers.
    pub tensor_count: Option<u64>,
    pub key_count: Option<u64>,
}

#[derive(Debug, Clone)]
pub struct GgufTensor {
    pub name: Vec<u8>,
    /// ggml's `ne`: the contiguous axis first.
    pub ne: Vec<u64>,
    pub ggml_type: u32,
    pub bytes: Vec<u8>,
    /// Instead of the real one.
    pub offset: Option<u64>,
}

impl Default for Gguf {
    fn default() -> Self {
        Self {
            version: 3,
            alignment: 32,
            keys: Vec::new(),
            tensors: Vec::new(),
            tensor_count: None,
            key_count: None,
        }
    }
}

pub fn string(text: &[u8]) -> Vec<u8> {
    [&(text.len() as u64).to_le_bytes(), text].concat()
}

impl Gguf {
    /// A model of `architecture` without tensors.
    pub fn model(architecture: &str) -> Self {
        Self::default().str("general.architecture", architecture)
    }

    pub fn key(mut self, key: &str, kind: u32, value: &[u8]) -> Self {
        self.keys.push((key.into(), kind, value.to_vec()));
        self
    }

    pub fn str(self, key: &str, value: &str) -> Self {
        self.key(key, STRING, &string(value.as_bytes()))
    }

    pub fn u32(self, key: &str, value: u32) -> Self {
        self.key(key, U32, &value.to_le_bytes())
    }

    pub fn array(self, key: &str, element: u32, len: u64, elements: &[u8]) -> Self {
        let value = [&element.to_le_bytes()[..], &len.to_le_bytes(), elements].concat();
        self.key(key, ARRAY, &value)
    }

    pub fn align(mut self, alignment: u32) -> Self {
        self.alignment = alignment as usize;
        self.u32("general.alignment", alignment)
    }

    /// The keys of part `number` (from 0) of a split model.
    pub fn split(self, number: u16, count: u16, tensors: i32) -> Self {
        self.key("split.no", U16, &number.to_le_bytes()).key("split.count", U16, &count.to_le_bytes()).key(
            "split.tensors.count",
            I32,
            &tensors.to_le_bytes(),
        )
    }

    /// A tensor of `shape`, slowest axis first.
    pub fn raw(mut self, name: &str, shape: &[usize], ggml_type: u32, bytes: Vec<u8>) -> Self {
        let ne = shape.iter().rev().map(|&size| size as u64).collect();
        self.tensors.push(GgufTensor { name: name.into(), ne, ggml_type, bytes, offset: None });
        self
    }

    /// A tensor of `values`, stored as `dtype`.
    pub fn add(self, name: &str, shape: &[usize], dtype: Dtype, values: &[f32]) -> Self {
        assert_eq!(shape.iter().product::<usize>(), values.len());
        self.raw(name, shape, dtype.ggml_type(), encode(dtype, values))
    }

    pub fn bytes(&self) -> Vec<u8> {
        let mut bytes = b"GGUF".to_vec();
        bytes.extend(self.version.to_le_bytes());
        bytes.extend(self.tensor_count.unwrap_or(self.tensors.len() as u64).to_le_bytes());
        bytes.extend(self.key_count.unwrap_or(self.keys.len() as u64).to_le_bytes());
        for (key, kind, value) in &self.keys {
            bytes.extend(string(key));
            bytes.extend(kind.to_le_bytes());
            bytes.extend(value);
        }
        let mut data = Vec::new();
        for tensor in &self.tensors {
            bytes.extend(string(&tensor.name));
            bytes.extend((tensor.ne.len() as u32).to_le_bytes());
            bytes.extend(tensor.ne.iter().flat_map(|size| size.to_le_bytes()));
            bytes.extend(tensor.ggml_type.to_le_bytes());
            bytes.extend(tensor.offset.unwrap_or(data.len() as u64).to_le_bytes());
            data.extend(&tensor.bytes);
            data.resize(data.len().next_multiple_of(self.alignment), 0);
        }
        if !self.tensors.is_empty() {
            bytes.resize(bytes.len().next_multiple_of(self.alignment), 0);
        }
        [bytes, data].concat()
    }

    pub fn write(&self, path: &Path) {
        fs::write(path, self.bytes()).unwrap();
    }
}

/// `values` in their storage format; of the block formats Q8_0 and Q4_0, by the plainest rounding there is.
pub fn encode(dtype: Dtype, values: &[f32]) -> Vec<u8> {
    let plain = |dtype: Dtype, values: &[f32]| {
        let mut bytes = vec![0; dtype.row_bytes(values.len()).unwrap()];
        phlora_core::encode(values, dtype, &mut bytes).unwrap();
        bytes
    };
    let (levels, packed) = match dtype {
        Dtype::Q8_0 => (127.0, false),
        Dtype::Q4_0 => (7.0, true),
        _ => return plain(dtype, values),
    };
    let mut bytes = Vec::new();
    for block in values.chunks(32) {
        let scale = block.iter().fold(0.0_f32, |most, v| most.max(v.abs())) / levels;
        let level = |v: f32| if scale > 0.0 { (v / scale).round() as i8 } else { 0 };
        bytes.extend(plain(Dtype::F16, &[scale]));
        if packed {
            let nibble = |v: f32| (level(v) + 8).cast_unsigned();
            bytes.extend((0..16).map(|i| nibble(block[i]) | nibble(block[i + 16]) << 4));
        } else {
            bytes.extend(block.iter().map(|&v| level(v).cast_unsigned()));
        }
    }
    bytes
}
