//! Safetensors files that are sound but for what the input changes.

use crate::draw::Draw;

/// A tensor that is to be in a file.
pub struct Entry {
    /// Its name.
    pub name: String,
    /// Its dtype, as the format spells it.
    pub dtype: &'static str,
    /// Its shape.
    pub shape: Vec<usize>,
}

const DTYPES: [(&str, usize); 13] = [
    ("F32", 4), ("F16", 2), ("BF16", 2), ("F64", 8), ("F8_E4M3", 1), ("F8_E5M2", 1), ("I64", 8), ("I32", 4), ("I16", 2), ("I8", 1), ("U8", 1),
    ("BOOL", 1), ("Q9", 1),
];

/// Most bytes of the tensors of a file.
const MOST_BYTES: usize = 1 << 15;

impl Entry {
    /// A tensor.
    pub fn new(name: impl Into<String>, dtype: &'static str, shape: &[usize]) -> Self {
        Self { name: name.into(), dtype, shape: shape.to_vec() }
    }

    fn bytes(&self) -> usize {
        let size = DTYPES.iter().find(|(name, _)| *name == self.dtype).map_or(1, |(_, size)| *size);
        self.shape.iter().fold(size, |product, axis| product.saturating_mul(*axis))
    }

    /// Another dtype, shape or name, once in a while.
    pub fn change(&mut self, draw: &mut Draw<'_>) {
        match draw.below(24) {
            1 => self.dtype = draw.pick(&DTYPES).0,
            2 => self.shape = (0..draw.below(5)).map(|_| draw.pick(&[0, 1, 2, 3, 4, 8, 16, 32, 64, 128])).collect(),
            3 => self.name.push_str(&draw.text()),
            4 => self.name = draw.text(),
            5 if !self.shape.is_empty() => {
                let at = draw.below(self.shape.len());
                self.shape[at] = draw.pick(&[0, 1, 2, 3, 5, 16, 32, 33]);
            }
            _ => {}
        }
    }
}

/// A file of `entries` with `metadata`, a JSON object, where there are any.
pub fn file(entries: &[Entry], metadata: Option<&str>, draw: &mut Draw<'_>) -> Vec<u8> {
    let (mut header, mut at) = (String::from("{"), 0_usize);
    if let Some(metadata) = metadata {
        header.push_str(&format!("\"__metadata__\":{metadata},"));
    }
    for entry in entries {
        let length = if entry.bytes() > MOST_BYTES { 0 } else { entry.bytes() };
        let (mut begin, mut end) = (at as u64, (at + length) as u64);
        at += length;
        if draw.rarely(40) {
            (begin, end) = (begin.wrapping_add(draw.size()), end.wrapping_add(draw.size()));
        }
        let mut shape = format!("{:?}", entry.shape);
        if draw.rarely(60) {
            shape = format!("[{},{}]", draw.size(), draw.size());
        }
        let name = quoted(&entry.name);
        header.push_str(&format!("{name}:{{\"dtype\":\"{}\",\"shape\":{shape},\"data_offsets\":[{begin},{end}]}},", entry.dtype));
    }
    if header.ends_with(',') {
        header.pop();
    }
    header.push('}');
    let length = if draw.rarely(60) { draw.size() } else { header.len() as u64 };
    let mut bytes = length.to_le_bytes().to_vec();
    bytes.extend_from_slice(header.as_bytes());
    let cut = if draw.rarely(60) { at.saturating_sub(draw.below(9)) } else { at };
    bytes.extend(draw.fill(cut));
    bytes
}

/// A JSON text.
pub fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            c if u32::from(c) < 32 => out.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}
