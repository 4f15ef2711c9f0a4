use super::*;

fn file(header: &str, data: usize) -> Vec<u8> {
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend_from_slice(header.as_bytes());
    bytes.resize(bytes.len() + data, 0);
    bytes
}

fn refused(bytes: &[u8]) -> String {
    parse(Path::new("f.safetensors"), bytes, bytes.len()).unwrap_err().to_string()
}

#[test]
fn reads_what_the_reference_writes() {
    let data = [0u8; 12];
    let view = |dtype, shape: &[usize], n| {
        safetensors::tensor::TensorView::new(dtype, shape.to_vec(), &data[..n]).unwrap()
    };
    let tensors = [
        ("b", view(safetensors::Dtype::BF16, &[2, 3], 12)),
        ("empty", view(safetensors::Dtype::F32, &[0, 3], 0)),
        ("a", view(safetensors::Dtype::F32, &[3], 12)),
    ];
    let bytes = safetensors::serialize(tensors, None).unwrap();
    let entries = parse(Path::new("f"), &bytes, bytes.len()).unwrap();
    let names: Vec<_> =
        entries.iter().map(|e| (e.name.as_str(), e.dtype_name.as_str(), e.range.len())).collect();
    assert_eq!(names, [("a", "F32", 12), ("empty", "F32", 0), ("b", "BF16", 12)]);
}

#[test]
fn names_the_tensor_that_is_wrong() {
    let one = |dtype: &str, shape: &str, offsets: &str| {
        format!(r#"{{"w":{{"dtype":"{dtype}","shape":{shape},"data_offsets":{offsets}}}}}"#)
    };
    for (bytes, expected) in [
        (file(&one("F32", "[2]", "[0,9]"), 8), "tensor w: its offsets 0..9 leave the file"),
        (file(&one("F32", "[2]", "[8,0]"), 8), "tensor w: its offsets 8..0 leave"),
        (file(&one("F32", "[3]", "[0,8]"), 8), "tensor w: F32 of shape [3] does not take its 8 bytes"),
        (file(&one("F32", "[18446744073709551615,9]", "[0,8]"), 8), "does not take"),
        (file(&one("F32", "[-1]", "[0,8]"), 8), "tensor w: its shape"),
        (file(&one("F32", "[2]", "[0]"), 8), "tensor w: its data_offsets"),
        (file(&one("F32", "[2]", "[4,12]"), 12), "tensor w: its bytes leave a gap after the header"),
        (file(&one("F32", "[2]", "[0,8]"), 9), "1 bytes at its end"),
        (file(r#"{"w":3}"#, 0), "tensor w: its header entry has no dtype"),
        (file("[]", 0), "not a safetensors file: its header is not valid"),
        (file("{", 0), "header is not valid"),
        (b"hello".to_vec(), "shorter than the 8 bytes"),
        (b"hello, this is text".to_vec(), "not a safetensors file but text, which begins with hello, this"),
        (vec![0xff; 64], "only 56 follow"),
        (Vec::new(), "an empty file"),
        (b"version https://git-lfs.github.com/spec/v1\n".to_vec(), "`git lfs pull`"),
        (b"<!doctype html>".to_vec(), "a web page"),
        (br#"{"error": "restricted"}"#.to_vec(), "JSON, which begins with {\"error\""),
        (b"PK\x03\x04 archive/data.pkl and more".to_vec(), "convert it with Python"),
        (b"PK\x03\x04 zip of other things".to_vec(), "not a safetensors file, or cut short"),
        (b"GGUF\x03\0\0\0\0".to_vec(), "a GGUF file"),
    ] {
        let message = refused(&bytes);
        assert!(message.starts_with("f.safetensors: ") && message.contains(expected), "{message}");
    }
}

#[test]
fn refuses_overlap_and_duplicates() {
    let overlap = r#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},
                      "b":{"dtype":"F32","shape":[2],"data_offsets":[4,12]}}"#;
    assert!(refused(&file(overlap, 12)).contains("tensor b: its bytes overlap with a"));
    let twice = r#"{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},
                    "a":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}"#;
    assert!(refused(&file(twice, 8)).contains("tensor a: named twice"));
}

#[test]
fn refuses_what_the_reference_refuses() {
    let one = |inner: &str| file(&format!(r#"{{"a":{{{inner}}}}}"#), 4);
    for inner in [
        r#""dtype":"F32","dtype":"F32","shape":[1],"data_offsets":[0,4]"#,
        r#""dtype":"F32","shape":[1],"shape":[1],"data_offsets":[0,4]"#,
        r#""dtype":"F32","shape":[1],"data_offsets":[0,4],"data_offsets":[0,4]"#,
    ] {
        assert!(safetensors::SafeTensors::deserialize(&one(inner)).is_err());
        assert!(refused(&one(inner)).contains("twice"), "{inner}");
    }
    let a = r#""a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}"#;
    for (metadata, expected) in [
        (r#""__metadata__":{"x":1},"#, "x in __metadata__ is not a text"),
        (r#""__metadata__":{"x":{"y":"z"}},"#, "x in __metadata__ is not a text"),
        (r#""__metadata__":["x"],"#, "__metadata__ is not an object"),
        (r#""__metadata__":{},"__metadata__":{"x":"y"},"#, "__metadata__ stands there twice"),
    ] {
        let bytes = file(&format!("{{{metadata}{a}}}"), 4);
        assert!(safetensors::SafeTensors::deserialize(&bytes).is_err(), "{metadata}");
        assert!(refused(&bytes).contains(expected), "{}", refused(&bytes));
    }
    let twice = file(&format!(r#"{{"__metadata__":{{"x":"y","x":"z"}},{a},}}"#).replace("},}", "}}"), 4);
    assert!(
        parse(Path::new("f"), &twice, twice.len()).is_ok()
            && safetensors::SafeTensors::deserialize(&twice).is_ok()
    );
    let axes = format!(r#"{{"a":{{"dtype":"F32","shape":[1{}],"data_offsets":[0,4]}}}}"#, ",1".repeat(64));
    assert!(refused(&file(&axes, 4)).contains("65 axes"));
}

#[test]
fn gives_the_metadata_that_are_wanted() {
    let header = r#"{"__metadata__":{"x":"y","z":"w"},"n":{"dtype":"F32","shape":[0],"data_offsets":[0,0]}}"#;
    let found = metadata(Path::new("f"), &file(header, 0), &["z", "q"]).unwrap();
    assert_eq!(found, BTreeMap::from([("z".to_owned(), "w".to_owned())]));
}

#[test]
fn keeps_a_dtype_that_nobody_knows() {
    let header = r#"{"__metadata__":{"format":"pt"},"q":{"dtype":"Q9","shape":[7],"data_offsets":[0,5]}}"#;
    let bytes = file(header, 5);
    let entries = parse(Path::new("f"), &bytes, bytes.len()).unwrap();
    assert_eq!(entries[0].dtype_name, "Q9");
}
