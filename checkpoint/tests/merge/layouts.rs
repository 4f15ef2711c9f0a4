//! Weights that are stored in another way than linear ones, names of others, and what does not fit.

use crate::*;

#[test]
fn experts_of_a_stack_are_merged_one_by_one() {
    let root = tempfile::tempdir().unwrap();
    let (rows, cols, count) = (8, 32, 3);
    let stack = noise(5, count * rows * cols);
    let base = root.path().join("base.gguf");
    Gguf::model("llama")
        .add("blk.0.ffn_up_exps.weight", &[count, rows, cols], Dtype::F32, &stack)
        .write(&base);
    let mut modules = Vec::new();
    for index in 0..count {
        let mut one = module(
            &format!("blk.0.ffn_up_exps.{index}"),
            [rows, cols],
            2,
            50 + 10 * index as u64,
            1.0,
            Dtype::F32,
        );
        one.expert = Some(phlora::Expert { index, count });
        modules.push(one);
    }
    let adapter = Lora { naming: Naming::Gguf, architecture: Some("llama".into()), ..lora(modules) };
    let path = root.path().join("adapter.gguf");
    adapter.save(&path, AdapterFormat::Gguf, false, &Monitor::default()).unwrap();
    let out = root.path().join("out.gguf");
    merged(&base, &[(&Adapter::open(&path).unwrap(), 1.0)], &out).unwrap();
    let after = Model::open(&out).unwrap();
    for (index, module) in adapter.modules.iter().enumerate() {
        let before = &stack[index * rows * cols..][..rows * cols];
        let expected: Vec<_> =
            before.iter().zip(update(module)).map(|(base, more)| f64::from(*base) + more).collect();
        let name = format!("blk.0.ffn_up_exps.{index}.weight");
        assert_rounded(Dtype::F32, &values(&after, &name), &expected, &name);
    }
}

#[test]
fn conv1d_weights_are_stored_the_other_way_round() {
    let root = tempfile::tempdir().unwrap();
    let base = root.path().join("base");
    fs::create_dir(&base).unwrap();
    fs::write(base.join("config.json"), r#"{"model_type":"gpt2"}"#).unwrap();
    // Square and not: shapes alone would not tell.
    let shapes = [("h.0.attn.c_proj", [16, 16]), ("h.0.mlp.c_fc", [32, 16])];
    let weights: Vec<_> = shapes
        .iter()
        .zip(1..)
        .map(|((name, [out, input]), seed)| {
            (format!("{name}.weight"), vec![*input, *out], encode(Dtype::F32, &noise(seed, out * input)))
        })
        .collect();
    let views = weights.iter().map(|(name, shape, bytes)| {
        let view = safetensors::tensor::TensorView::new(safetensors::Dtype::F32, shape.clone(), bytes);
        (name, view.unwrap())
    });
    fs::write(base.join("model.safetensors"), safetensors::serialize(views, None).unwrap()).unwrap();
    let modules: Vec<_> =
        shapes.iter().map(|(name, shape)| module(name, *shape, 3, 70, 1.0, Dtype::F16)).collect();
    let adapter = save(&Lora { fan_in_fan_out: true, ..lora(modules.clone()) }, &root.path().join("adapter"));
    let out = root.path().join("out");
    merged(&base, &[(&adapter, 1.0)], &out).unwrap();
    let (before, after) = (Model::open(&base).unwrap(), Model::open(&out).unwrap());
    for module in &modules {
        let ([rows, cols], name) = (module.shape(), format!("{}.weight", module.name));
        let added = update(module);
        let expected: Vec<_> = values(&before, &name)
            .iter()
            .enumerate()
            .map(|(at, base)| f64::from(*base) + added[at % rows * cols + at / rows])
            .collect();
        assert_rounded(Dtype::F32, &values(&after, &name), &expected, &name);
    }
}

#[test]
fn what_does_not_fit_is_refused_and_leaves_nothing() {
    let root = tempfile::tempdir().unwrap();
    let base = root.path().join("base.gguf");
    let q4_k = Dtype::ALL.iter().find(|dtype| dtype.name() == "Q4_K").unwrap();
    let unread = vec![0; q4_k.row_bytes(16 * 256).unwrap()];
    Llama::new(WIDTH, 1)
        .gguf("llama", Dtype::F16, true)
        .raw("blk.1.ffn_up.weight", &[16, 256], q4_k.ggml_type(), unread)
        .write(&base);
    let one = |name: &str, shape, value: f32| {
        let mut module = module(name, shape, 2, 9, 1.0, Dtype::F32);
        let [rows, cols] = module.b.shape();
        module.b =
            Factor::new(Dtype::F32, [rows, cols], encode(Dtype::F32, &vec![value; rows * cols])).unwrap();
        lora(vec![module])
    };
    let up = ("model.layers.0.mlp.up_proj", [2 * WIDTH, WIDTH]);
    let cases = [
        (one("model.layers.7.mlp.up_proj", up.1, 1.0), "base.gguf has no tensor blk.7.ffn_up.weight"),
        (one(up.0, [WIDTH, WIDTH], 1.0), "but blk.0.ffn_up.weight in"),
        (one("model.layers.1.mlp.up_proj", [16, 256], 1.0), "tensor blk.1.ffn_up.weight: "),
        (one(up.0, up.1, 1e6), "beyond the range of F16"),
    ];
    for (at, (lora, expected)) in cases.into_iter().enumerate() {
        let adapter = save(&lora, &root.path().join(format!("adapter-{at}")));
        let problem = merged(&base, &[(&adapter, 1.0)], &root.path().join("out.gguf")).unwrap_err();
        assert!(problem.contains(expected), "{problem}");
    }
    // A NaN passes into the file only by hand.
    let adapter = root.path().join("nan");
    drop(save(&one(up.0, up.1, 1.5), &adapter));
    let path = adapter.join("adapter_model.safetensors");
    let mut bytes = fs::read(&path).unwrap();
    let end = bytes.len();
    bytes[end - 4..].copy_from_slice(&f32::NAN.to_le_bytes());
    fs::write(&path, bytes).unwrap();
    let opened = Adapter::open(&adapter).unwrap();
    let problem = merged(&base, &[(&opened, 1.0)], &root.path().join("out.gguf")).unwrap_err();
    assert!(problem.contains("NaN") && problem.contains("adapter_model.safetensors"), "{problem}");
    let problem = merged(&base, &[(&opened, f32::NAN)], &root.path().join("out.gguf")).unwrap_err();
    assert!(problem.contains("no number"), "{problem}");
    let left: Vec<_> = fs::read_dir(root.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(left.iter().all(|name| !name.to_string_lossy().contains("out")), "{left:?}");
    // At strength 0 nothing is rounded again.
    let adapter = save(&small(1000, 0.5, Dtype::F32), &root.path().join("peft"));
    merged(&base, &[(&adapter, 0.0)], &root.path().join("same.gguf")).unwrap();
    assert_eq!(fs::read(&base).unwrap(), fs::read(root.path().join("same.gguf")).unwrap());
}

#[test]
fn a_kohya_adapter_merges_into_a_gguf_model_under_its_authors_names() {
    let root = tempfile::tempdir().unwrap();
    let (changed, untouched) = ("single_blocks.3.linear1.weight", "double_blocks.0.img_attn.qkv.weight");
    let base = root.path().join("base.gguf");
    [changed, untouched]
        .iter()
        .fold(Gguf::model("flux"), |model, name| model.add(name, &[12, 8], Dtype::F16, &noise(1, 12 * 8)))
        .write(&base);
    let one = module("lora_unet_single_blocks_3_linear1", [12, 8], 2, 60, 0.5, Dtype::F32);
    let before = values(&Model::open(&base).unwrap(), changed);
    let expected: Vec<_> =
        before.iter().zip(update(&one)).map(|(base, more)| f64::from(*base) + more).collect();
    let adapter = Lora { naming: Naming::Single, ..lora(vec![one]) };
    let path = root.path().join("lora.safetensors");
    adapter.save(&path, AdapterFormat::Kohya, false, &Monitor::default()).unwrap();
    let out = root.path().join("out.gguf");
    merged(&base, &[(&Adapter::open(&path).unwrap(), 1.0)], &out).unwrap();
    assert_rounded(Dtype::F16, &values(&Model::open(&out).unwrap(), changed), &expected, "merged");
    assert_only(&base, &out, &[changed]);
}
