//! Adapters of every format through what takes one.

use crate::bounds::within;
use crate::draw::Draw;
use crate::models::{MODULES, fixtures};
use crate::safetensors::{Entry, quoted};
use crate::{gguf as container, opens_only, place, safetensors};
use phlora::{
    Adapter, AdapterFormat, ChannelScales, ConvertOptions, Heads, MergeOptions, Model, Monitor, Policy,
    PruneOptions, check, convert, inspect, merge, prune, verify,
};
use phlora_core::Dtype;
use std::num::NonZeroUsize;
use std::path::Path;

/// A PEFT directory: a configuration, `0x1e`, and the weights, or built of what the input says.
pub fn peft(data: &[u8]) {
    let Some((&kind, data)) = data.split_first() else { return };
    let (config, weights) = if kind % 2 == 0 {
        let Some(at) = data.iter().position(|byte| *byte == 0x1e) else { return };
        (data[..at].to_vec(), data[at + 1..].to_vec())
    } else {
        let mut draw = Draw::new(data);
        let rank = 1 + draw.below(4);
        let config = config(rank, &mut draw).into_bytes();
        let mut entries = Vec::new();
        for _ in 0..1 + draw.below(4) {
            let (name, _, shape) = draw.pick(&MODULES);
            let dtype = draw.pick(&["F32", "F16", "BF16"]);
            for (side, shape) in [("lora_A", [rank, shape[1]]), ("lora_B", [shape[0], rank])] {
                let mut entry = Entry::new(format!("base_model.model.{name}.{side}.weight"), dtype, &shape);
                entry.change(&mut draw);
                entries.push(entry);
            }
        }
        if draw.rarely(6) {
            let name = draw.pick(&[
                "model.norm.weight",
                "model.embed_tokens.weight",
                "model.layers.0.self_attn.q_proj.bias",
                "x.modules_to_save.weight",
            ]);
            entries.push(Entry::new(format!("base_model.model.{name}"), "F32", &[32]));
        }
        (config, safetensors::file(&entries, None, &mut draw))
    };
    let directory = place::empty("peft");
    place::write("peft/adapter_config.json", &config);
    place::write("peft/adapter_model.safetensors", &weights);
    exercise(&directory, config.len() + weights.len(), kind >> 1);
}

fn config(rank: usize, draw: &mut Draw<'_>) -> String {
    let pattern = |draw: &mut Draw<'_>| {
        let key = draw.pick(&[
            "q_proj",
            "model.layers.0.self_attn.q_proj",
            ".*q_proj",
            "(a|b)*{3}",
            "layers\\.[0-9]+\\.mlp",
            "^x",
            "[",
            "a{1,99}{1,99}",
        ]);
        format!("{{{}:{}}}", quoted(key), 1 + draw.below(5))
    };
    let mut config = format!(
        "{{\"peft_type\":\"LORA\",\"r\":{rank},\"lora_alpha\":{}",
        draw.pick(&["4", "0", "-1", "1e30", "1e-30", "16.5"])
    );
    for _ in 0..draw.below(4) {
        let field = match draw.below(14) {
            0 => format!("\"rank_pattern\":{}", pattern(draw)),
            1 => format!("\"alpha_pattern\":{}", pattern(draw)),
            2 => "\"use_rslora\":true".into(),
            3 => "\"fan_in_fan_out\":true".into(),
            4 => format!("\"target_modules\":[{}]", quoted(&draw.text())),
            5 => "\"target_parameters\":[\"model.layers.0.self_attn.q_proj.weight\"]".into(),
            6 => format!("\"base_model_name_or_path\":{}", quoted(&draw.text())),
            7 => "\"modules_to_save\":[\"embed_tokens\",\"norm\"]".into(),
            8 => "\"bias\":\"all\",\"lora_bias\":true".into(),
            9 => format!("\"trainable_token_indices\":{{\"embed_tokens\":[{},1]}}", draw.below(60)),
            10 => format!("\"r\":{}", draw.size()),
            11 => "\"use_dora\":true".into(),
            12 => format!("\"layers_to_transform\":[{}]", draw.below(3)),
            _ => format!(
                "{}:{}",
                quoted(&draw.text()),
                draw.pick(&["null", "[]", "{}", "true", "1e400", "\"x\"", "[[[[1]]]]"])
            ),
        };
        config.push(',');
        config.push_str(&field);
    }
    config.push('}');
    config
}

/// A GGUF adapter: the file, or built of what the input says.
pub fn gguf(data: &[u8]) {
    let Some((&kind, data)) = data.split_first() else { return };
    let bytes = if kind % 2 == 0 {
        data.to_vec()
    } else {
        let mut draw = Draw::new(data);
        let mut file = container::Builder::default();
        file.text("general.architecture", draw.pick(&["llama", "llama", "llama", "qwen3moe"]));
        file.text("general.type", draw.pick(&["adapter", "adapter", "adapter", "model"]));
        file.text("adapter.type", draw.pick(&["lora", "lora", "lora", "x"]));
        let alpha = if draw.rarely(8) { draw.float() } else { 4.0 };
        file.float("adapter.lora.alpha", alpha);
        if draw.rarely(4) {
            file.any(
                draw.pick(&[
                    "general.alignment",
                    "adapter.alora.invocation_tokens",
                    "general.base_model.0.name",
                    "adapter.lora.alpha",
                ]),
                &mut draw,
            );
        }
        for _ in 0..1 + draw.below(4) {
            let (_, name, [out, input]) = draw.pick(&MODULES);
            let rank = draw.pick(&[1, 2, 4, 32]);
            let dtype =
                draw.pick(&[Dtype::F32, Dtype::F16, Dtype::Bf16, Dtype::Q8_0, Dtype::Q4_0, Dtype::Q6K]);
            let (stack, name) = if draw.rarely(6) {
                (Some(1 + draw.below(4)), format!("{name}_exps"))
            } else {
                (None, name.to_owned())
            };
            let [mut a, mut b] = [vec![rank, input], vec![out, rank]];
            if name == "token_embd" {
                [a, b] = [vec![out, rank], vec![input, rank]];
            }
            if let Some(count) = stack {
                a.insert(0, count);
                b.insert(0, count);
            }
            file.tensor(&format!("{name}.weight.lora_a"), dtype, &a, &mut draw);
            let dtype = if rank == 32 { dtype } else { Dtype::F32 };
            file.tensor(&format!("{name}.weight.lora_b"), dtype, &b, &mut draw);
        }
        file.file(&mut draw)
    };
    let path = place::write("adapter-in.gguf", &bytes);
    exercise(&path, bytes.len(), kind >> 1);
}

/// An adapter of one safetensors file: the file, or built of what the input says.
pub fn single(data: &[u8]) {
    let Some((&kind, data)) = data.split_first() else { return };
    let bytes = if kind % 2 == 0 {
        data.to_vec()
    } else {
        let mut draw = Draw::new(data);
        let (mut entries, style) = (Vec::new(), draw.below(3));
        for _ in 0..1 + draw.below(4) {
            let (name, _, [out, input]) = draw.pick(&MODULES);
            let name = match style {
                0 => format!("lora_te_{}", name.replace('.', "_")),
                1 => format!("lora_unet_{}", name.replace('.', "_")),
                _ => format!("diffusion_model.{name}"),
            };
            let [down, up] =
                draw.pick(&[[".lora_down.weight", ".lora_up.weight"], [".lora_A.weight", ".lora_B.weight"]]);
            let mut these = vec![
                Entry::new(format!("{name}{down}"), "F16", &[2, input]),
                Entry::new(format!("{name}{up}"), "F16", &[out, 2]),
            ];
            if draw.rarely(2) {
                these.push(Entry::new(format!("{name}.alpha"), "F16", &[]));
            }
            if draw.rarely(5) {
                let suffix = draw.pick(&[
                    ".diff",
                    ".diff_b",
                    ".w_norm",
                    ".lora_mid.weight",
                    ".dora_scale",
                    ".hada_w1_a",
                    ".lokr_w1",
                ]);
                these.push(Entry::new(format!("{name}{suffix}"), "F32", &[32]));
            }
            these.iter_mut().for_each(|entry| entry.change(&mut draw));
            entries.extend(these);
        }
        let metadata = draw.rarely(3).then_some(
            r#"{"ss_network_alpha":"4","lora_adapter_metadata":"{\"unet.r\":2,\"unet.lora_alpha\":4}"}"#,
        );
        safetensors::file(&entries, metadata, &mut draw)
    };
    let path = place::write("single.safetensors", &bytes);
    exercise(&path, bytes.len(), kind >> 1);
}

/// An adapter in the compact form: the file, or built of what the input says.
pub fn compact(data: &[u8]) {
    let Some((&kind, data)) = data.split_first() else { return };
    let bytes = if kind % 2 == 0 {
        data.to_vec()
    } else {
        // One that was written, changed in a few places: its bits are checked too closely for anything that is made up.
        let Ok(mut bytes) = std::fs::read(written_compact()) else { return };
        let mut draw = Draw::new(data);
        for _ in 0..draw.below(5) {
            let (at, value) = (draw.below(bytes.len()), draw.byte());
            match draw.below(4) {
                0 => bytes[at] = value,
                1 => bytes[at] ^= 1 << (value % 8),
                2 => bytes.truncate(at.max(8)),
                _ => bytes[at] = bytes[at].wrapping_add(1),
            }
        }
        bytes
    };
    let path = place::write("adapter-in.phlora", &bytes);
    exercise(&path, bytes.len(), kind >> 1);
}

/// The sound adapter in the compact form.
fn written_compact() -> std::path::PathBuf {
    let path = place::path("written.phlora");
    if !path.exists() {
        let adapter = Adapter::open(&fixtures().adapter).expect("it is sound");
        let mut options = PruneOptions::default();
        (options.policy, options.format) = (Policy::fixed(2), AdapterFormat::Phlora);
        prune(&adapter, &path, &options, &Monitor::default()).expect("it is written");
    }
    path
}

/// Opens an adapter, and does with it one of the things that are done with adapters.
fn exercise(path: &Path, size: usize, what: u8) {
    let opened = within(size, || {
        let looked = inspect(path).map_err(|error| error.to_string());
        let adapter = Adapter::open(path).map_err(|error| error.to_string());
        assert!(adapter.is_err() || looked.is_ok(), "it opens, but: {looked:?}");
        adapter
    });
    if opens_only() {
        return;
    }
    let fixtures = fixtures();
    let monitor = Monitor::default();
    // A broken one gives findings.
    if what % 8 < 2 {
        let base = Model::open(if what % 2 == 0 { &fixtures.hugging_face } else { &fixtures.gguf })
            .expect("it is sound");
        let found = within(size, || check(path, &base, &monitor).map_err(|error| error.to_string()));
        assert!(
            opened.is_ok() || found.is_err() || found.is_ok_and(|found| !found.is_empty()),
            "no finding of what does not open"
        );
        return;
    }
    let Ok(adapter) = opened else { return };
    let out = place::empty("out");
    let written = |name: &str, done: bool| {
        if done {
            place::holds(&out, &[name]);
            Adapter::open(&out.join(name)).expect("what is written is read");
        } else {
            place::holds(&out, &[]);
        }
    };
    within(size, || match what % 8 {
        2..=5 => {
            let (format, name) = [
                (AdapterFormat::Gguf, "a.gguf"),
                (AdapterFormat::Peft, "a"),
                (AdapterFormat::Kohya, "a.safetensors"),
                (AdapterFormat::Comfy, "a.safetensors"),
            ][usize::from(what % 8) - 2];
            let mut options = ConvertOptions::new(format);
            match what / 8 % 4 {
                0 => options.base = Some(fixtures.hugging_face.clone()),
                1 => options.base = Some(fixtures.gguf.clone()),
                2 => {
                    (options.architecture, options.heads) =
                        (Some("llama".into()), Some(Heads { queries: 4, keys: 2 }))
                }
                _ => options.prefix = Some("diffusion_model".into()),
            }
            written(name, convert(&adapter, &out.join(name), &options, &monitor).is_ok());
        }
        6 => {
            let mut options = PruneOptions::default();
            options.policy = Policy::fixed(1 + usize::from(what / 8 % 3));
            options.threads = NonZeroUsize::MIN;
            let name = if what / 8 % 2 == 0 { "a" } else { "a.phlora" };
            options.format = AdapterFormat::of_path(Path::new(name));
            written(name, prune(&adapter, &out.join(name), &options, &monitor).is_ok());
        }
        _ => {
            let path = if what / 8 % 2 == 0 { &fixtures.hugging_face } else { &fixtures.gguf };
            let base = Model::open(path).expect("it is sound");
            if what / 16 % 2 == 0 {
                let mut options = MergeOptions::default();
                options.threads = NonZeroUsize::MIN;
                if merge(&base, &[(&adapter, 0.5)], &out.join("merged"), &options, &monitor).is_err() {
                    place::holds(&out, &[]);
                }
            } else {
                let tuned = Model::open(&place::path("hf-tuned")).expect("it is sound");
                let measured =
                    verify(&base, &tuned, &adapter, &ChannelScales::default(), NonZeroUsize::MIN, &monitor);
                if let Ok(measured) = measured {
                    assert!(measured.energy.is_finite() && measured.sum_squares.is_finite(), "{measured:?}");
                }
            }
        }
    });
}
