//! The arithmetic of headers against 128-bit integers: a file is accepted where, and only where, its numbers are sound.
//!
//! Numbers lie at the edges where products and sums wrap. `PROPTEST_CASES` says how many files.

use phlora::Model;
use proptest::prelude::*;
use std::fs;
use std::path::Path;

/// Bytes of tensors in each file.
const DATA: u64 = 96;

/// Numbers near what wraps, and small ones.
fn number() -> impl Strategy<Value = u64> {
    let near = |at: u64| (0_u64..3).prop_map(move |d| at.wrapping_sub(1).wrapping_add(d));
    prop_oneof![
        20 => 0_u64..13,
        4 => prop::sample::select(vec![16, 24, 32, 48, 64, DATA]),
        1 => near(1 << 32),
        1 => near(1 << 61),
        1 => near(1 << 62),
        1 => near(1 << 63),
        1 => near(0),
        1 => any::<u64>(),
    ]
}

#[derive(Debug, Clone)]
struct Tensor {
    kind: usize,
    shape: Vec<u64>,
    begin: u64,
    /// Where the arithmetic would put the end, or anywhere.
    end: Option<u64>,
    /// Whether it begins where the one before it ends.
    follows: bool,
}

fn tensors() -> impl Strategy<Value = Vec<Tensor>> {
    let end = prop_oneof![4 => Just(None), 1 => number().prop_map(Some)];
    let tensor = (0_usize..4, prop::collection::vec(number(), 0..4), number(), end, prop::bool::weighted(0.8));
    let tensor = tensor.prop_map(|(kind, shape, begin, end, follows)| Tensor { kind, shape, begin, end, follows });
    prop::collection::vec(tensor, 0..4)
}

fn opens(name: &str, bytes: &[u8]) -> Result<usize, String> {
    let directory = if Path::new("/dev/shm").is_dir() { tempfile::tempdir_in("/dev/shm") } else { tempfile::tempdir() };
    let directory = directory.unwrap();
    let path = directory.path().join(name);
    fs::write(&path, bytes).unwrap();
    Model::open(&path).map(|model| model.tensors().count()).map_err(|error| error.to_string())
}

/// The product of a shape, where 128 bits hold it.
fn product(shape: &[u64]) -> Option<u128> {
    shape.iter().try_fold(1_u128, |product, &axis| product.checked_mul(u128::from(axis)))
}

/// The product of a shape as sizes of this machine: from the left, as headers are read; once it wraps it is refused, whatever follows.
fn machine(start: u128, shape: &[u64]) -> Option<u128> {
    shape.iter().try_fold(start, |product, &axis| {
        product.checked_mul(u128::from(axis)).filter(|product| *product <= u128::from(u64::MAX))
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn safetensors(tensors in tensors(), data in prop_oneof![Just(DATA), 0_u64..40]) {
        const KINDS: [(&str, u128); 4] = [("F32", 32), ("BF16", 16), ("I64", 64), ("U8", 8)];
        let (mut header, mut places, mut sound, mut before) = (String::from("{"), Vec::new(), true, 0_u64);
        for (i, tensor) in tensors.iter().enumerate() {
            let (dtype, bits) = KINDS[tensor.kind];
            let begin = if tensor.follows { before } else { tensor.begin };
            let bytes = product(&tensor.shape).and_then(|product| product.checked_mul(bits)).map(|bits| bits / 8);
            let end = tensor.end.unwrap_or_else(|| bytes.map_or(begin, |bytes| begin.wrapping_add(bytes as u64)));
            before = end;
            let shape = &tensor.shape;
            header.push_str(&format!("\"t{i}\":{{\"dtype\":\"{dtype}\",\"shape\":{shape:?},\"data_offsets\":[{begin},{end}]}},"));
            sound &= begin <= end && end <= data && machine(bits, shape) == Some(u128::from(end.saturating_sub(begin)) * 8);
            places.push((begin, end));
        }
        header = format!("{}}}", header.trim_end_matches(','));
        places.sort_unstable();
        let mut at = 0;
        for (begin, end) in places {
            sound &= begin == at;
            at = end;
        }
        sound &= at == data;
        let mut file = (header.len() as u64).to_le_bytes().to_vec();
        file.extend_from_slice(header.as_bytes());
        file.resize(file.len() + data as usize, 0);
        let found = opens("m.safetensors", &file);
        prop_assert_eq!(found.is_ok(), sound, "{}: {:?}", header, found);
        if sound {
            prop_assert_eq!(found, Ok(tensors.len()));
        }
    }

    #[test]
    fn gguf(tensors in tensors(), alignment in prop::sample::select(vec![1_u32, 8, 32]), data in prop_oneof![Just(DATA), 0_u64..40]) {
        // F32, I8, Q8_0: number, entries of a block, its bytes.
        const KINDS: [(u32, u128, u128); 4] = [(0, 1, 4), (24, 1, 1), (8, 32, 34), (0, 1, 4)];
        let text = |text: &str| [&(text.len() as u64).to_le_bytes(), text.as_bytes()].concat();
        let mut file = [b"GGUF".as_slice(), &3_u32.to_le_bytes(), &(tensors.len() as u64).to_le_bytes(), &1_u64.to_le_bytes()].concat();
        file.extend([text("general.alignment"), 4_u32.to_le_bytes().to_vec(), alignment.to_le_bytes().to_vec()].concat());
        let (mut places, mut sound, mut before) = (Vec::new(), true, 0_u64);
        for (i, tensor) in tensors.iter().enumerate() {
            let (number, len, bytes) = KINDS[tensor.kind];
            let offset = if tensor.follows { before.next_multiple_of(u64::from(alignment)) } else { tensor.begin };
            file.extend(text(&format!("t{i}")));
            file.extend((tensor.shape.len() as u32).to_le_bytes());
            tensor.shape.iter().rev().for_each(|axis| file.extend(axis.to_le_bytes()));
            file.extend(number.to_le_bytes());
            file.extend(offset.to_le_bytes());
            let entries = machine(1, &tensor.shape).filter(|entries| *entries > 0);
            let row = u128::from(tensor.shape.last().copied().unwrap_or(1));
            let size = entries.filter(|_| row.is_multiple_of(len)).map(|entries| entries / len * bytes);
            let end = size.map(|size| u128::from(offset) + size);
            sound &= offset.is_multiple_of(u64::from(alignment)) && end.is_some_and(|end| end <= u128::from(data));
            before = end.map_or(0, |end| end.min(1 << 40) as u64);
            places.push((u128::from(offset), end.unwrap_or(0)));
        }
        places.sort_unstable();
        sound &= places.windows(2).all(|pair| pair[0].1 <= pair[1].0 && pair[0].0 != pair[1].0);
        // Without tensors nothing has to be aligned; with some there is padding up to them.
        file.resize(file.len().next_multiple_of(alignment as usize) + data as usize, 0);
        let found = opens("m.gguf", &file);
        prop_assert_eq!(found.is_ok(), sound, "{:?}: {:?}", tensors, found);
        if sound {
            prop_assert_eq!(found, Ok(tensors.len()));
        }
    }
}
