//! Weights in the layout of each library, with what that library made of them (`tests/interop/quantized_vectors.py`).

use std::path::Path;

use phlora_core::Shape;
use phlora_core::quantized::{
    Absmax, Awq, BnbFourBit, BnbInt8, FloatFormat, Floats, Fp8, Fp8Format, GlobalScale, Gptq, Int8, Mxfp4,
    Nvfp4, Packed, Scales, Scheme,
};
use safetensors::{Dtype, SafeTensors, tensor::TensorView};
use serde_json::Value;

/// The tensors of a weight and the part of `quantization_config` that matters.
struct Stored<'a> {
    tensors: SafeTensors<'a>,
    config: Value,
}

fn size(value: &Value) -> usize {
    usize::try_from(value.as_u64().unwrap()).unwrap()
}

impl<'a> Stored<'a> {
    fn tensor(&self, name: &str) -> TensorView<'a> {
        self.tensors.tensor(name).unwrap()
    }

    fn bytes(&self, name: &str) -> &'a [u8] {
        self.tensor(name).data()
    }

    fn optional(&self, name: &str) -> Option<&'a [u8]> {
        self.tensors.tensor(name).ok().map(|tensor| tensor.data())
    }

    fn floats(&self, name: &str) -> Floats<'a> {
        let tensor = self.tensor(name);
        let format = match tensor.dtype() {
            Dtype::F32 => FloatFormat::F32,
            Dtype::F16 => FloatFormat::F16,
            Dtype::BF16 => FloatFormat::Bf16,
            Dtype::F8_E8M0 | Dtype::U8 => FloatFormat::E8M0,
            other => panic!("{other:?}"),
        };
        Floats { format, bytes: tensor.data() }
    }

    /// An F32 of one element.
    fn single(&self, name: &str) -> f32 {
        f32::from_le_bytes(self.bytes(name).try_into().unwrap())
    }

    fn fp8(&self, scales: Option<Scales<'a>>) -> Scheme<'a> {
        let weight = self.tensor("weight");
        let format = if weight.dtype() == Dtype::F8_E5M2 { Fp8Format::E5M2 } else { Fp8Format::E4M3 };
        Scheme::Fp8(Fp8 { weight: weight.data(), format, scales })
    }

    fn compressed_tensors(&self) -> Scheme<'a> {
        let group = &self.config["config_groups"]["group_0"];
        let weights = &group["weights"];
        let scales = |values| match weights["strategy"].as_str().unwrap() {
            "tensor" => Scales::one(values),
            "channel" => Scales::per_row(values),
            "group" => Scales::groups(values, size(&weights["group_size"])),
            "block" => {
                let [rows, cols] = [0, 1].map(|i| size(&weights["block_structure"][i]));
                Scales { values, block: Shape { rows, cols } }
            }
            other => panic!("{other}"),
        };
        match self.config["format"].as_str().unwrap() {
            "float-quantized" | "mxfp8-quantized" => self.fp8(Some(scales(self.floats("weight_scale")))),
            "int-quantized" => Scheme::Int8(Int8 {
                weight: self.bytes("weight"),
                scales: scales(self.floats("weight_scale")),
                zero_points: self.optional("weight_zero_point"),
            }),
            "mxfp4-pack-quantized" => Scheme::Mxfp4(Mxfp4 {
                weight: self.bytes("weight_packed"),
                scales: self.bytes("weight_scale"),
            }),
            "nvfp4-pack-quantized" => Scheme::Nvfp4(Nvfp4 {
                weight: self.bytes("weight_packed"),
                scales: self.bytes("weight_scale"),
                global: GlobalScale::Over(self.single("weight_global_scale")),
            }),
            "pack-quantized" => Scheme::Packed(Packed {
                bits: u32::try_from(size(&weights["num_bits"])).unwrap(),
                weight: self.bytes("weight_packed"),
                scales: scales(self.floats("weight_scale")),
                zero_points: self.optional("weight_zero_point"),
                g_idx: self.optional("weight_g_idx"),
            }),
            other => panic!("{other}"),
        }
    }

    fn bitsandbytes_4bit(&self) -> Scheme<'a> {
        let name = self.tensors.names().into_iter().find(|name| name.starts_with("quant_state.")).unwrap();
        let state: Value = serde_json::from_slice(self.bytes(name)).unwrap();
        let absmax = match self.optional("nested_absmax") {
            None => Absmax::Plain(self.bytes("absmax")),
            Some(absmax) => Absmax::Nested {
                codes: self.bytes("absmax"),
                quant_map: self.bytes("nested_quant_map"),
                absmax,
                block_size: size(&state["nested_blocksize"]),
                offset: state["nested_offset"].as_f64().unwrap() as f32,
            },
        };
        Scheme::BnbFourBit(BnbFourBit {
            weight: self.bytes("weight"),
            quant_map: self.bytes("quant_map"),
            block_size: size(&state["blocksize"]),
            absmax,
        })
    }

    fn scheme(&self, reference: &str) -> Scheme<'a> {
        let of = |key: &str| size(&self.config[key]);
        match reference {
            "plain" => self.fp8(None),
            "fp8" => {
                let [rows, cols] = [0, 1].map(|i| size(&self.config["weight_block_size"][i]));
                let values = self.floats("weight_scale_inv");
                self.fp8(Some(Scales { values, block: Shape { rows, cols } }))
            }
            "mxfp4" => Scheme::Mxfp4(Mxfp4 { weight: self.bytes("blocks"), scales: self.bytes("scales") }),
            "compressed_tensors" | "compressed_tensors_ordered" => self.compressed_tensors(),
            "modelopt" => Scheme::Nvfp4(Nvfp4 {
                weight: self.bytes("weight"),
                scales: self.bytes("weight_scale"),
                global: GlobalScale::Times(self.single("weight_scale_2")),
            }),
            "bitsandbytes_4bit" => self.bitsandbytes_4bit(),
            "bitsandbytes_8bit" => {
                Scheme::BnbInt8(BnbInt8 { weight: self.bytes("weight"), scb: self.bytes("SCB") })
            }
            "gptq" => Scheme::Gptq(Gptq {
                bits: u32::try_from(of("bits")).unwrap(),
                qweight: self.bytes("qweight"),
                qzeros: self.bytes("qzeros"),
                v2: self.config["checkpoint_format"] == "gptq_v2",
                scales: self.floats("scales"),
                group_size: of("group_size"),
                g_idx: self.optional("g_idx"),
            }),
            "awq" => Scheme::Awq(Awq {
                qweight: self.bytes("qweight"),
                qzeros: self.bytes("qzeros"),
                scales: self.floats("scales"),
                group_size: of("group_size"),
            }),
            other => panic!("{other}"),
        }
    }
}

#[test]
fn weights_have_the_bits_of_their_libraries() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("data/quantized");
    let mut count = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let bytes = std::fs::read(&path).unwrap();
        let metadata = SafeTensors::read_metadata(&bytes).unwrap().1.metadata().clone().unwrap();
        let tensors = SafeTensors::deserialize(&bytes).unwrap();
        let stored = Stored { tensors, config: serde_json::from_str(&metadata["config"]).unwrap() };
        let expected = stored.tensor("expected");
        let &[rows, cols] = expected.shape() else { panic!("{path:?}") };
        let values: Vec<f32> =
            expected.data().as_chunks().0.iter().map(|&bytes| f32::from_le_bytes(bytes)).collect();
        let name = format!("{} by {}", path.display(), metadata["library"]);
        super::check(&name, Shape { rows, cols }, stored.scheme(&metadata["reference"]), &values);
        count += 1;
    }
    assert!(count >= 33, "{count} files");
}
