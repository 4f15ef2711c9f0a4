//! What the tests of the command share: small models made by hand, and a way to run the binary.
#![allow(dead_code, missing_docs)] // each test binary uses a part of it

pub mod small;

use phlora_core::{Dtype, Rows};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// Tensors on their way into a safetensors file, in file order.
#[derive(Default, Clone)]
pub struct Tensors(pub Vec<(String, String, Vec<usize>, Vec<u8>)>);

impl Tensors {
    pub fn add(mut self, name: &str, shape: &[usize], dtype: Dtype, values: &[f32]) -> Self {
        let mut bytes = vec![0; dtype.row_bytes(values.len()).unwrap()];
        phlora_core::encode(values, dtype, &mut bytes).unwrap();
        self.0.push((name.into(), dtype.name().into(), shape.to_vec(), bytes));
        self
    }

    pub fn raw(mut self, name: &str, shape: &[usize], dtype: &str, bytes: Vec<u8>) -> Self {
        self.0.push((name.into(), dtype.into(), shape.to_vec(), bytes));
        self
    }

    pub fn write(&self, path: &Path) {
        let mut header = serde_json::Map::new();
        let (mut at, mut data) = (0, Vec::new());
        for (name, dtype, shape, bytes) in &self.0 {
            let end = at + bytes.len();
            let entry = serde_json::json!({"dtype": dtype, "shape": shape, "data_offsets": [at, end]});
            header.insert(name.clone(), entry);
            data.extend_from_slice(bytes);
            at = end;
        }
        fs::write(path, file(&serde_json::Value::from(header).to_string(), &data)).unwrap();
    }
}

/// A safetensors file of this header and these bytes, whatever they are.
pub fn file(header: &str, data: &[u8]) -> Vec<u8> {
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend_from_slice(header.as_bytes());
    bytes.extend_from_slice(data);
    bytes
}

/// `n` values in ±`scale`, the same for the same seed.
pub fn noise(seed: u64, n: usize, scale: f32) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as f32 / 8_388_608.0 - 1.0
    };
    (0..n).map(|_| next() * scale).collect()
}

/// `base` plus a product of rank `rank`, rows × cols.
pub fn plus_low_rank(base: &[f32], rows: usize, cols: usize, rank: usize, seed: u64) -> Vec<f32> {
    let (left, right) = (noise(seed, rows * rank, 0.2), noise(seed + 1, rank * cols, 0.2));
    let mut values = base.to_vec();
    for (i, row) in values.chunks_exact_mut(cols).enumerate() {
        for (j, value) in row.iter_mut().enumerate() {
            *value += (0..rank).map(|k| left[i * rank + k] * right[k * cols + j]).sum::<f32>();
        }
    }
    values
}

/// A model of one linear layer [24, 16] and a norm, both sides, `tuned` of rank 2 away.
pub fn small_pair() -> (Tensors, Tensors) {
    let base = noise(1, 24 * 16, 1.0);
    let tuned = plus_low_rank(&base, 24, 16, 2, 7);
    let side = |weight: &[f32], norm: f32| {
        Tensors::default().add(LINEAR, &[24, 16], Dtype::F32, weight).add(
            "norm.weight",
            &[16],
            Dtype::F32,
            &[norm; 16],
        )
    };
    (side(&base, 1.0), side(&tuned, 1.5))
}

pub const LINEAR: &str = "layers.0.up_proj.weight";

/// Writes both sides as single files and gives their paths.
pub fn write_pair(root: &Path, base: &Tensors, tuned: &Tensors) -> (String, String) {
    let (b, t) = (root.join("base.safetensors"), root.join("tuned.safetensors"));
    base.write(&b);
    tuned.write(&t);
    (text(&b), text(&t))
}

/// Makes a model directory of one file and a configuration.
pub fn write_model(directory: &Path, tensors: &Tensors, config: &str) -> String {
    fs::create_dir_all(directory).unwrap();
    tensors.write(&directory.join("model.safetensors"));
    fs::write(directory.join("config.json"), config).unwrap();
    text(directory)
}

pub fn text(path: &Path) -> String {
    path.to_str().unwrap().to_owned()
}

/// The command, to be run with arguments.
pub fn command() -> Command {
    Command::new(env!("CARGO_BIN_EXE_phlora"))
}

/// Runs the command and gives exit code, stdout and stderr.
pub fn phlora(args: &[&str]) -> (i32, String, String) {
    outcome(&command().args(args).output().unwrap())
}

pub fn outcome(output: &Output) -> (i32, String, String) {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (output.status.code().unwrap_or(-1), text(&output.stdout), text(&output.stderr))
}

/// Runs the command, which must succeed, and gives its stdout.
pub fn succeed(args: &[&str]) -> String {
    let (code, stdout, stderr) = phlora(args);
    assert_eq!(code, 0, "{args:?}: {stderr}");
    stdout
}

/// One tensor of an adapter, decoded.
pub fn factor(adapter: &Path, name: &str) -> (Vec<usize>, Vec<f32>) {
    let bytes = fs::read(adapter.join("adapter_model.safetensors")).unwrap();
    let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let tensor = file.tensor(name).unwrap();
    (tensor.shape().to_vec(), decoded(&tensor))
}

/// The values of a tensor.
pub fn decoded(tensor: &safetensors::tensor::TensorView<'_>) -> Vec<f32> {
    let dtype = match tensor.dtype() {
        safetensors::Dtype::F32 => Dtype::F32,
        safetensors::Dtype::F16 => Dtype::F16,
        _ => Dtype::Bf16,
    };
    let mut values = vec![0.0; tensor.shape().iter().product()];
    phlora_core::decode(Rows::new(dtype, tensor.data()), &mut values).unwrap();
    values
}

/// B·A of one module, [out, in].
pub fn product(adapter: &Path, module: &str) -> Vec<f32> {
    let name = |part| format!("base_model.model.{module}.{part}.weight");
    let (a_shape, a) = factor(adapter, &name("lora_A"));
    let (b_shape, b) = factor(adapter, &name("lora_B"));
    let (rank, cols) = (a_shape[0], a_shape[1]);
    assert_eq!(b_shape[1], rank);
    let mut values = Vec::new();
    for i in 0..b_shape[0] {
        values.extend((0..cols).map(|j| (0..rank).map(|k| b[i * rank + k] * a[k * cols + j]).sum::<f32>()));
    }
    values
}

/// ‖x − y‖ / ‖y‖.
pub fn distance(x: &[f32], y: &[f32]) -> f64 {
    assert_eq!(x.len(), y.len());
    let squares = |values: &mut dyn Iterator<Item = f32>| values.map(|v| f64::from(v).powi(2)).sum::<f64>();
    (squares(&mut x.iter().zip(y).map(|(x, y)| x - y)) / squares(&mut y.iter().copied())).sqrt()
}

pub fn difference(tuned: &[f32], base: &[f32]) -> Vec<f32> {
    tuned.iter().zip(base).map(|(t, b)| t - b).collect()
}

pub fn json(path: &Path) -> serde_json::Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

/// Names in a directory, sorted, hidden ones too.
pub fn names(directory: &Path) -> Vec<String> {
    let mut names: Vec<_> =
        fs::read_dir(directory).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// Bytes of an adapter's files, without the card for people.
pub fn size_of_adapter(directory: &Path) -> u64 {
    let files = names(directory).into_iter().filter(|name| name != "README.md");
    files.map(|name| fs::metadata(directory.join(name)).unwrap().len()).sum()
}

/// The real pair of the repository.
pub fn tiny_llama(side: &str) -> String {
    text(&PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../tests/data/tiny-llama").join(side))
}

/// Extracts the real pair to `out`.
pub fn extract_tiny(out: &Path, more: &[&str]) {
    let (base, tuned) = (tiny_llama("base"), tiny_llama("tuned"));
    succeed(&[&["extract", &base, &tuned, "-o", &text(out), "--quiet"], more].concat());
}

/// What `verify` measures of an adapter of the real pair.
pub fn verified_tiny(adapter: &Path) -> serde_json::Value {
    let (base, tuned) = (tiny_llama("base"), tiny_llama("tuned"));
    serde_json::from_str(&succeed(&["verify", &base, &tuned, &text(adapter), "--json"])).unwrap()
}
