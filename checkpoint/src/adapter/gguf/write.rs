//! Writes an adapter as GGUF version 3, tensor by tensor.
//!
//! `adapter.lora.alpha` is 0, which means scale 1: llama.cpp divides one alpha by each module's own rank, so that
//! any other value would give modules of different ranks different scales. A scale that is not 1 is multiplied
//! into B; by a power of two that is exact.

use super::{MAX_NAME, NO_PLACE, SUFFIXES, is_flipped, key};
use crate::adapter::provenance;
use crate::adapter::{AdapterFormat, Factor, Lora, LoraModule, Naming};
use crate::error::{Error, Result};
use phlora_core::Dtype;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io::{self, Read, Write};

const VERSION: u32 = 3;
const ALIGNMENT: usize = 32;
/// Most experts of a layer.
const MAX_EXPERTS: usize = 1 << 16;

// Types of values.
const U32: u32 = 4;
const F32: u32 = 6;
const STRING: u32 = 8;

/// A tensor as it will be written.
struct Tensor<'l> {
    name: String,
    /// ggml's order: the fastest axis first.
    ne: Vec<u64>,
    dtype: Dtype,
    /// Its matrices: one, or one per expert; zeros where there is none.
    matrices: Vec<Option<Cow<'l, Factor<'l>>>>,
    /// Of each matrix.
    matrix_bytes: usize,
}

/// Bytes that [`write_gguf`] writes.
///
/// # Errors
/// As [`write_gguf`], but for what only the values of the factors tell.
pub fn gguf_len(lora: &Lora<'_>) -> Result<u64> {
    let tensors = tensors(lora)?;
    let data: usize = tensors.iter().map(Tensor::padded).sum();
    Ok((header(lora, &tensors).len() + data) as u64)
}

/// Writes `lora`, whose modules have GGUF's names, as an adapter that llama.cpp loads, and gives the number of bytes.
/// Holds one factor in memory at a time, besides the header. Experts without factors get zeros, since a layer's are
/// one tensor, and all of them the largest rank among them.
///
/// # Errors
/// When there is no module or no architecture, a name is too long, or a factor has a format that adapters cannot
/// have or an entry that is beyond its range; and what `out` refuses.
pub fn write_gguf(lora: &Lora<'_>, out: &mut impl Write) -> Result<u64> {
    let failed = |e: io::Error| Error::io("the adapter".as_ref(), "write", e);
    let tensors = tensors(lora)?;
    let header = header(lora, &tensors);
    out.write_all(&header).map_err(failed)?;
    let mut written = header.len();
    for tensor in &tensors {
        for matrix in &tensor.matrices {
            match matrix {
                Some(factor) => out.write_all(&factor.encoded()?),
                // Every format has zero bytes for zeros.
                None => io::copy(&mut io::repeat(0).take(tensor.matrix_bytes as u64), out).map(drop),
            }
            .map_err(failed)?;
        }
        let padding = tensor.padded() - tensor.bytes();
        out.write_all(&[0; ALIGNMENT][..padding]).map_err(failed)?;
        written += tensor.padded();
    }
    Ok(written as u64)
}

impl Tensor<'_> {
    fn bytes(&self) -> usize {
        self.matrices.len() * self.matrix_bytes
    }

    fn padded(&self) -> usize {
        self.bytes().next_multiple_of(ALIGNMENT)
    }
}

/// The tensors in file order, checked.
fn tensors<'l>(lora: &'l Lora<'_>) -> Result<Vec<Tensor<'l>>> {
    lora.check()?;
    lora.factors_only(NO_PLACE)?;
    if lora.naming != Naming::Gguf {
        return Err(Error::usage("a GGUF adapter needs modules under GGUF's names".into()));
    }
    if lora.architecture.as_deref().is_none_or(str::is_empty) {
        return Err(Error::usage("a GGUF adapter needs the architecture of its base".into()));
    }
    if lora.modules.is_empty() {
        return Err(Error::usage("an adapter without modules does nothing".into()));
    }
    let mut groups = BTreeMap::<&str, Vec<&LoraModule<'_>>>::new();
    for module in &lora.modules {
        groups.entry(module.tensor()).or_default().push(module);
    }
    let mut tensors = Vec::with_capacity(2 * groups.len());
    for (name, modules) in groups {
        pair(name, &modules, &mut tensors)?;
    }
    Ok(tensors)
}

/// Adds the two tensors of one module, or of the experts of a layer.
fn pair<'l>(name: &str, modules: &[&'l LoraModule<'_>], tensors: &mut Vec<Tensor<'l>>) -> Result<()> {
    let Some(&first) = modules.first() else { return Ok(()) };
    let rank = modules.iter().map(|module| module.rank()).max().unwrap_or(0);
    let count = first.expert.map_or(1, |expert| expert.count);
    let [out, input] = first.shape();
    if count > MAX_EXPERTS {
        return Err(first.a.error(format!("{count} experts of {name} are more than {MAX_EXPERTS}")));
    }
    let mut matrices = [vec![None; count], vec![None; count]];
    for module in modules {
        let index = module.expert.map_or(0, |expert| expert.index);
        let alike = module.expert.map(|expert| expert.count) == first.expert.map(|expert| expert.count);
        if !alike || module.shape() != [out, input] || index >= count {
            let problem = format!("{} does not belong to the {count} matrices of {name}", module.name);
            return Err(module.a.error(problem));
        }
        if !module.kernel.is_empty() {
            return Err(module
                .a
                .error(format!("llama.cpp applies no adapter to a convolution, which {name} is")));
        }
        if module.embedding != is_flipped(name) {
            return Err(module.a.error(format!(
                "llama.cpp applies adapters to lookup tables named token_embd and to no others, not to {name}"
            )));
        }
        let (mut a, mut b) = (Cow::Borrowed(&module.a), Cow::Borrowed(&module.b));
        if module.scale != 1.0 {
            b.to_mut().scale(module.scale);
        }
        if module.rank() != rank {
            a.to_mut().resize([rank, input]);
            b.to_mut().resize([out, rank]);
        }
        if module.embedding {
            std::mem::swap(&mut a, &mut b);
            b.to_mut().transpose();
        }
        matrices[0][index] = Some(a);
        matrices[1][index] = Some(b);
    }
    for (matrices, suffix) in matrices.into_iter().zip(SUFFIXES) {
        let name = format!("{name}.weight{suffix}");
        tensors.push(tensor(name, matrices, first.expert.map(|expert| expert.count))?);
    }
    Ok(())
}

/// One tensor, of `matrices` that are all of one shape; at least one is there.
fn tensor<'l>(
    name: String,
    mut matrices: Vec<Option<Cow<'l, Factor<'l>>>>,
    experts: Option<usize>,
) -> Result<Tensor<'l>> {
    let Some(first) = matrices.iter().flatten().next().cloned() else {
        return Err(Error::usage(format!("{name} has no matrix")));
    };
    if name.len() > MAX_NAME {
        let problem = format!("its name {name} has {} bytes, llama.cpp reads at most {MAX_NAME}", name.len());
        return Err(first.error(problem));
    }
    let dtype = first.dtype();
    if !AdapterFormat::Gguf.holds(dtype) {
        return Err(first.error(format!("a GGUF adapter cannot hold {}", dtype.name())));
    }
    for matrix in matrices.iter_mut().flatten().filter(|matrix| matrix.dtype() != dtype) {
        matrix.to_mut().set_dtype(dtype);
    }
    let [rows, cols] = first.shape();
    let matrix_bytes = first.encoded_len().ok_or_else(|| {
        let (format, len) = (dtype.name(), dtype.block_len());
        first.error(format!("rows of {cols} entries do not fit into {format}, whose blocks have {len}"))
    })?;
    let mut ne = vec![cols as u64, rows as u64];
    ne.extend(experts.map(|experts| experts as u64));
    Ok(Tensor { name, ne, dtype, matrices, matrix_bytes })
}

/// All that stands before the first tensor's bytes, padding included.
fn header(lora: &Lora<'_>, tensors: &[Tensor<'_>]) -> Vec<u8> {
    let mut keys = Keys::default();
    keys.string(key::ARCHITECTURE, lora.architecture.as_deref().unwrap_or_default());
    keys.string(key::TYPE, "adapter");
    if let Some(base) = &lora.base_name {
        let last = base.trim_end_matches(['/', '\\']).rsplit(['/', '\\']).next().unwrap_or(base);
        keys.string("general.name", &format!("LoRA adapter of {last}"));
        keys.number("general.base_model.count", 1);
        keys.string(key::BASE_NAME, base);
    }
    for key in provenance::KEYS {
        if let Some(value) = lora.metadata.get(key) {
            keys.string(key, value);
        }
    }
    keys.number("general.file_type", file_type(tensors));
    keys.number("general.quantization_version", 2);
    keys.string(key::ADAPTER_TYPE, "lora");
    keys.name(key::ALPHA);
    keys.bytes.extend_from_slice(&F32.to_le_bytes());
    keys.bytes.extend_from_slice(&0_f32.to_le_bytes());

    let mut header = b"GGUF".to_vec();
    header.extend_from_slice(&VERSION.to_le_bytes());
    header.extend_from_slice(&(tensors.len() as u64).to_le_bytes());
    header.extend_from_slice(&keys.count.to_le_bytes());
    header.extend_from_slice(&keys.bytes);
    let mut offset = 0;
    for tensor in tensors {
        text(&mut header, &tensor.name);
        header.extend_from_slice(&(tensor.ne.len() as u32).to_le_bytes());
        tensor.ne.iter().for_each(|size| header.extend_from_slice(&size.to_le_bytes()));
        header.extend_from_slice(&tensor.dtype.ggml_type().to_le_bytes());
        header.extend_from_slice(&(offset as u64).to_le_bytes());
        offset += tensor.padded();
    }
    header.resize(header.len().next_multiple_of(ALIGNMENT), 0);
    header
}

/// llama.cpp's number for the format that most tensors have; only shown to people.
fn file_type(tensors: &[Tensor<'_>]) -> u32 {
    let count = |dtype| tensors.iter().filter(|tensor| tensor.dtype == dtype).count();
    let types = [
        (Dtype::F32, 0),
        (Dtype::F16, 1),
        (Dtype::Q4_0, 2),
        (Dtype::Q4_1, 3),
        (Dtype::Q8_0, 7),
        (Dtype::Q5_0, 8),
        (Dtype::Q5_1, 9),
        (Dtype::Iq4Nl, 25),
        (Dtype::Bf16, 32),
    ];
    types.into_iter().max_by_key(|(dtype, _)| count(*dtype)).map_or(0, |(_, number)| number)
}

/// The keys and values of a header.
#[derive(Default)]
struct Keys {
    count: u64,
    bytes: Vec<u8>,
}

impl Keys {
    fn name(&mut self, key: &str) {
        self.count += 1;
        text(&mut self.bytes, key);
    }

    fn string(&mut self, key: &str, value: &str) {
        self.name(key);
        self.bytes.extend_from_slice(&STRING.to_le_bytes());
        text(&mut self.bytes, value);
    }

    fn number(&mut self, key: &str, value: u32) {
        self.name(key);
        self.bytes.extend_from_slice(&U32.to_le_bytes());
        self.bytes.extend_from_slice(&value.to_le_bytes());
    }
}

/// A length and its bytes.
fn text(out: &mut Vec<u8>, value: &str) {
    out.extend_from_slice(&(value.len() as u64).to_le_bytes());
    out.extend_from_slice(value.as_bytes());
}
