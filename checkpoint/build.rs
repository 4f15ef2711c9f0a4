//! Packs the table of architectures, a tenth of the program as it is, into what `src/memory/packed.rs` unpacks.

use std::collections::HashMap;
use std::path::Path;
use std::{env, fs, io};

/// Shorter repetitions are not worth a reference.
const SHORTEST: usize = 5;
/// How many earlier places with the same beginning are compared.
const PLACES: usize = 64;

fn main() -> io::Result<()> {
    let table = "src/memory/architectures.txt";
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-changed={table}");
    let out = env::var_os("OUT_DIR").ok_or_else(|| io::Error::other("cargo sets OUT_DIR"))?;
    fs::write(Path::new(&out).join("architectures.packed"), pack(&fs::read(table)?))
}

/// `text` as runs of new bytes, each followed by a reference to earlier ones: how many are new, these, how many are
/// repeated, and how far before.
fn pack(text: &[u8]) -> Vec<u8> {
    let mut packed = Vec::new();
    let mut places = HashMap::<&[u8], Vec<usize>>::new();
    let (mut new, mut at) = (0, 0);
    let know = |from: usize, to: usize, places: &mut HashMap<_, Vec<_>>| {
        for place in from..to.min(text.len().saturating_sub(SHORTEST - 1)) {
            places.entry(&text[place..place + SHORTEST]).or_default().push(place);
        }
    };
    while at < text.len() {
        let known = text.get(at..at + SHORTEST).and_then(|begin| places.get(begin));
        let same = |from: usize| text[from..].iter().zip(&text[at..]).take_while(|(a, b)| a == b).count();
        let candidates = known.into_iter().flat_map(|known| known.iter().rev().take(PLACES));
        let best = candidates.map(|&from| (same(from), from)).max();
        let end = best.map_or(at + 1, |(length, _)| at + length);
        if let Some((length, from)) = best {
            number(at - new, &mut packed);
            packed.extend_from_slice(&text[new..at]);
            number(length, &mut packed);
            number(at - from, &mut packed);
            new = end;
        }
        know(at, end, &mut places);
        at = end;
    }
    number(text.len() - new, &mut packed);
    packed.extend_from_slice(&text[new..]);
    packed
}

/// Writes a number, seven bits a byte, the lowest first.
fn number(mut value: usize, packed: &mut Vec<u8>) {
    while value > 127 {
        packed.push(value as u8 | 128);
        value >>= 7;
    }
    packed.push(value as u8);
}
