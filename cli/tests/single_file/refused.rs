//! Files of others: how alpha and scales are read, and what is refused.

use crate::common::*;
use crate::*;

/// Where each of these can be wrong.
const MODULE: &str = "lora_unet_input_blocks_1_1_proj_in";

fn factors(down: &[usize], up: &[usize]) -> Tensors {
    let values = |shape: &[usize]| noise(5, shape.iter().product(), 1.0);
    Tensors::default().add(&format!("{MODULE}.lora_down.weight"), down, F32, &values(down)).add(
        &format!("{MODULE}.lora_up.weight"),
        up,
        F32,
        &values(up),
    )
}

#[test]
fn alpha_over_rank_is_the_scale() {
    let root = tempfile::tempdir().unwrap();
    let (base, tuned) = pair(&PIPELINE);
    let (base, _) = write_pair(root.path(), &base, &tuned);
    let path = root.path().join("lora.safetensors");
    let alpha = |tensors: Tensors| {
        tensors.write(&path);
        succeed(&["inspect", &text(&path)])
    };
    let name = format!("{MODULE}.alpha");
    let good = || factors(&[4, 11], &[11, 4]);
    for (tensors, expected) in [
        (good(), "alpha 4, scale 1"),
        (good().add(&name, &[], F32, &[2.0]), "alpha 2, scale 0.5"),
        (good().add(&name, &[1], F16, &[8.0]), "alpha 8, scale 2"),
        (good().add(&name, &[], Bf16, &[1.0]), "alpha 1, scale 0.25"),
        (good().raw(&name, &[], "I64", 2_i64.to_le_bytes().to_vec()), "alpha 2, scale 0.5"),
        (good().raw(&name, &[], "I32", 2_i32.to_le_bytes().to_vec()), "alpha 2, scale 0.5"),
        (good().raw(&name, &[], "U8", vec![2]), "alpha 2, scale 0.5"),
    ] {
        let inspected = alpha(tensors);
        assert!(inspected.contains(expected), "{inspected}");
    }
    // Merged and converted with that scale.
    good().add(&name, &[], F32, &[2.0]).write(&path);
    let merged = |adapter: &str, name: &str, scale: &str| {
        let out = text(&root.path().join(name));
        succeed(&["merge", &base, adapter, "-o", &out, "--scale", scale]);
        fs::read(out).unwrap()
    };
    let half = merged(&text(&path), "half.safetensors", "1");
    let peft = text(&root.path().join("peft"));
    succeed(&["convert", &text(&path), "-o", &peft, "--base", &base]);
    assert_eq!(json(&Path::new(&peft).join("adapter_config.json"))["lora_alpha"], 2);
    assert_eq!(merged(&peft, "peft.safetensors", "1"), half);
    let back = root.path().join("back.safetensors");
    succeed(&["convert", &peft, "-o", &text(&back), "--format", "kohya", "--base", &base]);
    assert_eq!(alphas(&back), [2.0]);
    good().write(&path);
    assert_eq!(merged(&text(&path), "whole.safetensors", "0.5"), half);
}

#[test]
fn what_is_no_sound_lora_is_refused_by_name() {
    let root = tempfile::tempdir().unwrap();
    let (base, tuned) = pair(&PIPELINE);
    let (base, tuned) = write_pair(root.path(), &base, &tuned);
    let path = root.path().join("lora.safetensors");
    let out = text(&root.path().join("out"));
    let good = || factors(&[4, 11], &[11, 4]);
    let more = |name: &str| good().add(&format!("{MODULE}{name}"), &[2, 2], F32, &[1.0; 4]);
    let alpha = |values: &[f32]| good().add(&format!("{MODULE}.alpha"), &[values.len()], F32, values);
    let one = |index: usize| Tensors(vec![good().0[index].clone()]);
    for (tensors, expected) in [
        (factors(&[4, 11], &[11, 3]), "expected [out, 4]"),
        (factors(&[4, 5, 3, 3], &[11, 4]), "expected [out, 4, 1, 1]"),
        (factors(&[4, 5, 3, 3], &[11, 4, 3, 3]), "expected [out, 4, 1, 1]"),
        (factors(&[4], &[11, 4]), "expected [rank, in]"),
        (factors(&[0, 11], &[11, 0]), "a rank of at least 1"),
        (factors(&[4, 0], &[11, 4]), "does not take"),
        (one(0), "lora_up.weight is missing"),
        (one(1), "lora_down.weight is missing"),
        (alpha(&[1.0, 2.0]), "expected one number"),
        (alpha(&[0.0]), "alpha of 0"),
        (alpha(&[f32::NAN]), "NaN is no alpha"),
        (good().raw(&format!("{MODULE}.alpha"), &[], "BOOL", vec![1]), "BOOL is not read"),
        (good().add("lora_unet_other.alpha", &[], F32, &[1.0]), "factors of its module are missing"),
        (more(".lora_mid.weight"), "Tucker"),
        (more(".hada_w1_a"), "LoHa"),
        (more(".lokr_w1"), "LoKr"),
        (more(".dora_scale"), "DoRA"),
        (more(".diff"), "has factors as well"),
        (more(".w_norm"), "has factors as well"),
        (more(".set_weight"), "a weight in place of the base's"),
        (more(".strange"), "not a LoRA factor"),
        (more(".lora_A.weight"), "the same tensor of the module"),
        (Tensors::default().add("lora_unet_x.hada_w1_a", &[2, 2], F32, &[1.0; 4]), "hada_w1_b is missing"),
    ] {
        tensors.write(&path);
        let adapter = text(&path);
        refused(&["inspect", &adapter], expected);
        refused(&["verify", &base, &tuned, &adapter], expected);
        refused(&["merge", &base, &adapter, "-o", &out], expected);
        refused(&["prune", &adapter, "-o", &out, "--rank", "1"], expected);
        refused(&["convert", &adapter, "-o", &out, "--base", &base], expected);
        let (code, stdout, _) = phlora(&["check", &adapter, "--base", &base]);
        assert!(code == 1 && stdout.contains("adapter-invalid") && stdout.contains(expected), "{stdout}");
    }
    assert_eq!(names(root.path()), ["base.safetensors", "lora.safetensors", "tuned.safetensors"]);
}

#[test]
fn a_scale_in_the_metadata_is_not_passed_over() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("lora.safetensors");
    for (config, sound) in [
        (json!({"transformer.r": 4, "transformer.lora_alpha": 4, "transformer.alpha_pattern": {}}), true),
        (json!({"transformer.r": 4, "transformer.lora_alpha": 8}), false),
        (json!({"transformer.r": 4, "transformer.lora_alpha": 4, "transformer.use_rslora": true}), false),
        (
            json!({"transformer.r": 4, "transformer.lora_alpha": 4, "transformer.alpha_pattern": {"a": 2}}),
            false,
        ),
        (json!("what"), false),
    ] {
        let mut header = serde_json::Map::new();
        header.insert("__metadata__".into(), json!({"lora_adapter_metadata": config.to_string()}));
        let mut data = Vec::new();
        for (part, shape) in [("lora_A", [4, 11]), ("lora_B", [7, 4])] {
            let start = data.len();
            data.resize(start + 4 * shape[0] * shape[1], 0);
            let entry = json!({"dtype": "F32", "shape": shape, "data_offsets": [start, data.len()]});
            header.insert(format!("transformer.a.{part}.weight"), entry);
        }
        fs::write(&path, file(&Value::from(header).to_string(), &data)).unwrap();
        let (code, stdout, stderr) = phlora(&["inspect", &text(&path)]);
        assert_eq!(code == 0 && stdout.contains("scale 1"), sound, "{stdout}{stderr}");
        assert!(sound || stderr.contains("lora_adapter_metadata"), "{stderr}");
    }
}

#[test]
fn names_and_shapes_must_be_those_of_the_base() {
    let root = tempfile::tempdir().unwrap();
    // Two modules that have one name with `_` for every dot.
    let layers: [(&str, &[usize]); 3] =
        [("a.b_c.weight", &[6, 5]), ("a_b.c.weight", &[6, 5]), ("conv.weight", &[6, 5, 3, 3])];
    let (base, tuned) = pair(&layers);
    let (base, tuned) = write_pair(root.path(), &base, &tuned);
    let path = root.path().join("lora.safetensors");
    let out = text(&root.path().join("out"));
    let adapter = text(&path);
    let write = |module: &str, down: &[usize], up: &[usize]| {
        let mut tensors = factors(down, up);
        for tensor in &mut tensors.0 {
            tensor.0 = tensor.0.replace(MODULE, module);
        }
        tensors.write(&path);
    };
    for (module, expected) in [
        ("lora_unet_a_b_c", "may be a.b_c or a_b.c"),
        ("lora_unet_other", "has no module that single files call"),
    ] {
        write(module, &[2, 5], &[6, 2]);
        refused(&["verify", &base, &tuned, &adapter], expected);
        refused(&["merge", &base, &adapter, "-o", &out], expected);
        refused(&["convert", &adapter, "-o", &out, "--base", &base], expected);
        let (code, stdout, _) = phlora(&["check", &adapter, "--base", &base]);
        assert!(code == 1 && stdout.contains(expected), "{stdout}");
    }
    write("diffusion_model.a.b_c", &[2, 5], &[6, 2]);
    succeed(&["merge", &base, &adapter, "-o", &text(&root.path().join("merged.safetensors"))]);
    for (down, up) in [(&[2, 45][..], &[6, 2][..]), (&[2, 5, 9, 1], &[6, 2, 1, 1])] {
        write("lora_unet_conv", down, up);
        refused(&["verify", &base, &tuned, &adapter], "[6, 5, 3, 3]");
        refused(&["merge", &base, &adapter, "-o", &out], "[6, 5, 3, 3]");
        refused(&["convert", &adapter, "-o", &out, "--base", &base], "[6, 5, 3, 3]");
    }
    let single = text(&root.path().join("single.safetensors"));
    let args = ["extract", &base, &tuned, "-o", &single, "--format", "kohya"];
    refused(&args, "named twice");
    succeed(&[&args[..], &["--exclude", "^a_b"]].concat());
}
