//! GGUF files that are sound but for what the input changes.

use crate::draw::Draw;
use phlora_core::Dtype;

/// A file that is being built.
#[derive(Default)]
pub struct Builder {
    keys: Vec<u8>,
    key_count: u64,
    infos: Vec<u8>,
    tensor_count: u64,
    data: Vec<u8>,
}

const STRING: u32 = 8;
const ARRAY: u32 = 9;
/// Bytes of a value of each type.
const SIZES: [usize; 13] = [1, 1, 2, 2, 4, 4, 4, 1, 8, 0, 8, 8, 8];
const ALIGNMENT: usize = 32;
const MOST_BYTES: usize = 1 << 15;

fn string(text: &str) -> Vec<u8> {
    [&(text.len() as u64).to_le_bytes(), text.as_bytes()].concat()
}

impl Builder {
    fn key(&mut self, name: &str, kind: u32, value: &[u8]) {
        self.keys.extend(string(name));
        self.keys.extend(kind.to_le_bytes());
        self.keys.extend(value);
        self.key_count += 1;
    }

    /// A key with a text.
    pub fn text(&mut self, name: &str, value: &str) {
        self.key(name, STRING, &string(value));
    }

    /// A key with a u32.
    pub fn number(&mut self, name: &str, value: u32) {
        self.key(name, 4, &value.to_le_bytes());
    }

    /// A key with an f32.
    pub fn float(&mut self, name: &str, value: f32) {
        self.key(name, 6, &value.to_le_bytes());
    }

    /// A key of any type.
    pub fn any(&mut self, name: &str, draw: &mut Draw<'_>) {
        let kind = draw.below(14) as u32;
        let value = match kind {
            STRING => string(&draw.text()),
            ARRAY => {
                let (element, count) = (draw.below(13), draw.below(6));
                let mut value = (element as u32).to_le_bytes().to_vec();
                let stated = if draw.rarely(8) { draw.size() } else { count as u64 };
                value.extend(stated.to_le_bytes());
                for _ in 0..count {
                    if element == STRING as usize { value.extend(string(&draw.text())) } else { value.extend(draw.fill(SIZES[element])) }
                }
                value
            }
            _ => draw.fill(SIZES.get(kind as usize).copied().unwrap_or(4)),
        };
        self.key(name, kind, &value);
    }

    /// A tensor; `shape` has the slowest axis first, as everywhere in phlora.
    pub fn tensor(&mut self, name: &str, dtype: Dtype, shape: &[usize], draw: &mut Draw<'_>) {
        let entries = shape.iter().fold(1_usize, |product, axis| product.saturating_mul(*axis));
        let bytes = dtype.row_bytes(entries).filter(|bytes| *bytes <= MOST_BYTES).unwrap_or(0);
        let mut offset = self.data.len() as u64;
        self.data.extend(draw.fill(bytes));
        self.data.resize(self.data.len().next_multiple_of(ALIGNMENT), 0);
        let mut kind = dtype.ggml_type();
        match draw.below(60) {
            1 => offset = offset.wrapping_add(draw.size()),
            2 => kind = draw.below(50) as u32,
            3 => kind = draw.size() as u32,
            _ => {}
        }
        self.infos.extend(string(name));
        let axes = if draw.rarely(60) { draw.size() as u32 } else { shape.len() as u32 };
        self.infos.extend(axes.to_le_bytes());
        for axis in shape.iter().rev() {
            let axis = if draw.rarely(90) { draw.size() } else { *axis as u64 };
            self.infos.extend(axis.to_le_bytes());
        }
        self.infos.extend(kind.to_le_bytes());
        self.infos.extend(offset.to_le_bytes());
        self.tensor_count += 1;
    }

    /// The file.
    pub fn file(self, draw: &mut Draw<'_>) -> Vec<u8> {
        let count = |stated: u64, draw: &mut Draw<'_>| if draw.rarely(60) { draw.size() } else { stated };
        let version: u32 = if draw.rarely(60) { draw.size() as u32 } else { 3 };
        let mut bytes = b"GGUF".to_vec();
        bytes.extend(version.to_le_bytes());
        bytes.extend(count(self.tensor_count, draw).to_le_bytes());
        bytes.extend(count(self.key_count, draw).to_le_bytes());
        bytes.extend(self.keys);
        bytes.extend(self.infos);
        bytes.resize(bytes.len().next_multiple_of(ALIGNMENT), 0);
        bytes.extend(self.data);
        if draw.rarely(40) {
            bytes.truncate(bytes.len().saturating_sub(draw.below(64)));
        }
        bytes
    }
}
