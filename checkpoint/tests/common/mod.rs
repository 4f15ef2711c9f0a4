//! Generated checkpoints for the tests of this crate.
#![allow(dead_code, missing_docs)] // each test binary uses a part of it

pub mod counting;
pub mod gguf;
pub mod llama;

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

/// Writes a bf16 model of `layers` square layers, noise and all, without holding it in memory.
pub fn write_model(path: &Path, layers: usize, side: usize, seed: u32) {
    let bytes = 2 * side * side;
    let entries: Vec<_> = (0..layers)
        .map(|i| {
            let (at, end) = (i * bytes, (i + 1) * bytes);
            format!(r#""layers.{i}.up.weight":{{"dtype":"BF16","shape":[{side},{side}],"data_offsets":[{at},{end}]}}"#)
        })
        .collect();
    let header = format!("{{{}}}", entries.join(","));
    let mut file = BufWriter::new(File::create(path).unwrap());
    file.write_all(&(header.len() as u64).to_le_bytes()).unwrap();
    file.write_all(header.as_bytes()).unwrap();
    let mut state = seed | 1;
    for _ in 0..layers * side * side {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        // A bf16 of magnitude 1/8 to 1/4 with random sign and fraction.
        file.write_all(&(0x3e00 | (state >> 16) as u16 & 0x807f).to_le_bytes()).unwrap();
    }
}
