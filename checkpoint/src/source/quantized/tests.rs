//! Models of one quantised weight, each with the weight that its own library makes of it.

use crate::source::measure::decode;
use crate::source::model::Model;
use crate::source::tensor::{Composed, Tensor};
use safetensors::tensor::{Dtype as Stored, TensorView};
use safetensors::{SafeTensors, serialize_to_file};
use serde_json::{Value, json};
use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};

/// A vector of `tests/data/quantized`.
struct Case {
    bytes: Vec<u8>,
    config: Value,
    reference: String,
}

impl Case {
    fn read(path: &Path) -> Self {
        let bytes = fs::read(path).unwrap();
        let (_, header) = SafeTensors::read_metadata(&bytes).unwrap();
        let texts = header.metadata().clone().unwrap();
        Self {
            config: serde_json::from_str(&texts["config"]).unwrap(),
            reference: texts["reference"].clone(),
            bytes,
        }
    }

    /// Saves it as the weight of the module `a`, without the tensor that `left_out` names.
    fn save(&self, left_out: &str) -> tempfile::TempDir {
        let all = SafeTensors::deserialize(&self.bytes).unwrap();
        let kept = all.tensors().into_iter().filter(|(name, _)| name != "expected" && name != left_out);
        let named = kept.map(|(name, tensor)| match self.reference.as_str() {
            "mxfp4" => (format!("a_{name}"), tensor),
            "bitsandbytes_4bit" if name != "weight" => (format!("a.weight.{name}"), tensor),
            _ => (format!("a.{name}"), tensor),
        });
        let folder = tempfile::tempdir().unwrap();
        serialize_to_file(named.collect::<Vec<_>>(), None, &folder.path().join("model.safetensors")).unwrap();
        if self.config.as_object().is_some_and(|config| !config.is_empty()) {
            let config = json!({"quantization_config": self.config});
            fs::write(folder.path().join("config.json"), config.to_string()).unwrap();
        }
        folder
    }

    /// The weight in f32, and its shape.
    fn expected(&self) -> (Vec<f32>, Vec<usize>) {
        let all = SafeTensors::deserialize(&self.bytes).unwrap();
        let tensor = all.tensor("expected").unwrap();
        let values = tensor.data().as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes));
        (values.collect(), tensor.shape().to_vec())
    }
}

fn paths() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/data/quantized");
    let files = fs::read_dir(folder).unwrap().map(|file| file.unwrap().path());
    let paths: Vec<_> =
        files.filter(|path| path.extension().is_some_and(|end| end == "safetensors")).collect();
    assert!(paths.len() > 30, "{}", paths.len());
    paths
}

/// Bits, but all NaN alike.
fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|value| if value.is_nan() { u32::MAX } else { value.to_bits() }).collect()
}

#[test]
fn every_format_is_one_weight_with_the_bits_of_its_library() {
    for path in paths() {
        let (case, name) = (Case::read(&path), path.file_stem().unwrap().to_string_lossy().into_owned());
        let folder = case.save("");
        let model = Model::open(folder.path()).unwrap();
        let names: Vec<_> = model.tensors().map(|(name, _)| name.to_owned()).collect();
        let (mut expected, mut shape) = case.expected();
        if case.reference == "mxfp4" {
            // The vector is in the order of the file, two experts below each other; in memory each is the transpose.
            let (rows, cols) = (shape[0] / 2, shape[1]);
            let at = |expert: usize, col: usize, row: usize| expected[(expert * rows + row) * cols + col];
            let turned = |e: usize| (0..cols).flat_map(move |col| (0..rows).map(move |row| (e, col, row)));
            expected = (0..2).flat_map(turned).map(|(e, col, row)| at(e, col, row)).collect();
            shape = vec![2, cols, rows];
            assert_eq!(names, ["a"], "{name}");
        } else {
            assert_eq!(names, ["a.weight"], "{name}");
        }
        let tensor = model.tensor(&names[0]).unwrap();
        assert_eq!(tensor.shape(), shape, "{name}");
        let mut values = vec![0.0; tensor.len()];
        decode(tensor, tensor.dtype().unwrap(), 0..tensor.len(), &mut values).unwrap();
        assert_eq!(bits(&values), bits(&expected), "{name}");
        // Any range of it, as well across rows.
        let (from, until) = (tensor.len() / 3 + 1, tensor.len() * 3 / 4 + 1);
        let mut some = vec![0.0; until - from];
        decode(tensor, tensor.dtype().unwrap(), from..until, &mut some).unwrap();
        assert_eq!(bits(&some), bits(&expected[from..until]), "{name}");
    }
}

#[test]
fn what_is_missing_is_named() {
    for path in paths() {
        let case = Case::read(&path);
        let all = SafeTensors::deserialize(&case.bytes).unwrap();
        for (left_out, _) in all.tensors() {
            let optional = ["expected", "g_idx", "weight_g_idx", "weight_format", "weight_zero_point"];
            // Without its codes nothing is a weight, and without these nothing says that something is quantised.
            let tells =
                ["weight", "weight_packed", "qweight", "blocks", "scales", "absmax", "SCB", "weight_scale_2"];
            if optional.contains(&left_out.as_str())
                || tells.contains(&left_out.as_str()) && left_out != "scales"
            {
                continue;
            }
            let folder = case.save(&left_out);
            match Model::open(folder.path()) {
                Err(error) => assert!(error.to_string().contains("model.safetensors: tensor a"), "{error}"),
                // Read as another kind of tensor, which no job takes for a weight.
                Ok(model) => assert!(
                    model.tensors().all(|(_, tensor)| !tensor.is_quantized()),
                    "{}: {left_out}",
                    path.display()
                ),
            }
        }
    }
}

#[test]
fn the_method_is_said_as_its_users_say_it() {
    let said = |name: &str| {
        let path =
            Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../tests/data/quantized/{name}.safetensors"));
        let folder = Case::read(&path).save("");
        Model::open(folder.path()).unwrap().quantization().unwrap()
    };
    assert_eq!(said("gptq4"), "GPTQ, 4 bits, groups of 32");
    assert_eq!(said("awq"), "AWQ, 4 bits, groups of 32");
    assert_eq!(said("fp8_blocks"), "FP8, blocks of 8 × 16");
    assert_eq!(said("gpt_oss"), "MXFP4");
    assert_eq!(said("bnb_nf4"), "bitsandbytes, NF4");
    assert_eq!(said("bnb_int8"), "bitsandbytes, LLM.int8");
    assert_eq!(said("ct_packed4"), "compressed-tensors (pack-quantized), 4 bits, groups of 32");
    assert_eq!(said("e4m3_plain"), "F8_E4M3");
}

#[test]
fn a_method_that_is_not_read_is_named() {
    for (config, what) in [
        (json!({"quant_method": "aqlm"}), "aqlm: this method is not read"),
        (
            json!({"quant_method": "gptq", "bits": 4, "checkpoint_format": "marlin"}),
            "GPTQ (marlin), 4 bits: only",
        ),
        (json!({"quant_method": "awq", "bits": 4, "version": "gemv"}), "AWQ (gemv), 4 bits: only"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let codes = [0; 16];
        let tensor = TensorView::new(Stored::I32, vec![2, 2], &codes).unwrap();
        serialize_to_file([("a.qweight", tensor)], None, &folder.path().join("model.safetensors")).unwrap();
        fs::write(folder.path().join("config.json"), json!({"quantization_config": config}).to_string())
            .unwrap();
        let error = Model::open(folder.path()).unwrap().check_method().unwrap_err().to_string();
        assert!(
            error.contains(what) && error.contains("take the checkpoint that it was made from"),
            "{error}"
        );
    }
}

#[test]
fn any_rows_and_any_fraction_of_it_are_those_of_the_whole() {
    for path in paths() {
        let (case, name) = (Case::read(&path), path.file_stem().unwrap().to_string_lossy().into_owned());
        let folder = case.save("");
        let model = Model::open(folder.path()).unwrap();
        let (_, tensor) = model.tensors().next().unwrap();
        let decoded = |tensor: Tensor<'_>, entries: Range<usize>| {
            let mut values = vec![0.0; entries.len()];
            decode(tensor, tensor.dtype().unwrap(), entries, &mut values).unwrap();
            bits(&values)
        };
        let (whole, cols) = (decoded(tensor, 0..tensor.len()), tensor.row_len());
        // From the beginning of a row, to the end of one, neither.
        let ranges =
            [(cols, 2 * cols + 1), (cols + 1, 3 * cols), (2 * cols - 1, 2 * cols + 2), (cols, 2 * cols)];
        // A stack may have two experts, each of which is a row.
        for (from, until) in ranges.into_iter().filter(|(_, until)| *until <= whole.len()) {
            assert_eq!(decoded(tensor, from..until), whole[from..until], "{name} {from} {until}");
        }
        let composed = Composed::whole(tensor);
        let rows = tensor.shape()[0];
        for count in (1..=4).filter(|count| rows.is_multiple_of(*count)) {
            let len = tensor.len() / count;
            for index in 0..count {
                let Some(fraction) = composed.fraction(index, count) else { continue };
                let part = fraction.tensor();
                assert_eq!((part.shape()[0], part.len()), (rows / count, len), "{name}");
                assert_eq!(decoded(part, 0..len), whole[index * len..][..len], "{name} {index} of {count}");
            }
            assert!(composed.fraction(count, count).is_none(), "{name}");
        }
        assert!(composed.fraction(0, 0).is_none() && composed.fraction(0, rows + 1).is_none(), "{name}");
    }
}
