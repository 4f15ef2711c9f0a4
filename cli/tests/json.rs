//! What `--json` prints is what docs/json.md says, field for field.

mod common;

use common::{phlora, succeed, text, tiny_llama};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

/// Objects by the names of things: any name stands for all.
const BY_NAME: [&str; 3] = ["dtypes", "kinds", "suffixes"];

/// The fields of `value`, as `modules[].name`. A report has a page of its own.
fn fields(value: &Value, path: &str, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(object) => {
            let by_name = path.rsplit('.').next().is_some_and(|last| BY_NAME.contains(&last));
            for (key, value) in object {
                let key = if by_name { "NAME" } else { key };
                let path = if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") };
                found.insert(path.clone());
                if key != "report" {
                    fields(value, &path, found);
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|item| fields(item, &format!("{path}[]"), found)),
        _ => {}
    }
}

/// The fields that the page lists for a command.
fn documented() -> BTreeMap<String, BTreeSet<String>> {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/json.md");
    let page = fs::read_to_string(page).unwrap();
    let mut found = BTreeMap::<String, BTreeSet<String>>::new();
    let mut command = String::new();
    for line in page.lines() {
        if let Some(name) = line.strip_prefix("## phlora ") {
            name.clone_into(&mut command);
            found.entry(command.clone()).or_default();
        } else if let Some((field, _)) = line.strip_prefix("| `").and_then(|rest| rest.split_once('`')) {
            found.entry(command.clone()).or_default().insert(field.to_owned());
        }
    }
    found
}

#[test]
fn the_fields_are_those_of_the_page() {
    let root = tempfile::tempdir().unwrap();
    let (base, tuned) = (tiny_llama("base"), tiny_llama("tuned"));
    let path = |name: &str| text(&root.path().join(name));
    let (adapter, report, gguf) = (path("adapter"), path("report.json"), path("a.gguf"));
    let mut printed = BTreeMap::<&str, BTreeSet<String>>::new();
    let mut run = |args: &[&str]| {
        let (code, stdout, stderr) = phlora(&[args, &["--json"]].concat());
        assert!(code < 2, "{args:?}: {stderr}");
        let json: Value = serde_json::from_str(&stdout).unwrap_or_else(|error| panic!("{args:?}: {error}"));
        fields(&json, "", printed.entry(args[0].to_owned().leak()).or_default());
    };
    run(&["extract", &base, &tuned, "-o", &adapter, "-r", "4", "--report", &report]);
    run(&["extract", &base, &tuned, "-o", &path("dry"), "--dry-run"]);
    run(&["extract", &base, &tuned, "-o", &path("1.part"), "--shard", "1/1"]);
    // One of several fine-tunes is the same as the base.
    let same = path("same");
    fs::create_dir(&same).unwrap();
    for file in ["config.json", "model.safetensors"] {
        fs::copy(Path::new(&base).join(file), Path::new(&same).join(file)).unwrap();
    }
    run(&["extract", &base, &tuned, &same, "-o", &path("several"), "-r", "2"]);
    run(&["join", &path("1.part"), "-o", &path("joined")]);
    run(&["verify", &base, &tuned, &adapter]);
    run(&["verify", &base, &tuned, &{
        let also = path("also");
        succeed(&["extract", &base, &tuned, "-o", &also, "-r", "2", "--also", "norms,tokens", "-q"]);
        also
    }]);
    run(&["convert", &adapter, "-o", &gguf, "--base", &base]);
    // One of another model, so that there is something to find.
    let config = fs::read_to_string(Path::new(&adapter).join("adapter_config.json")).unwrap();
    fs::write(Path::new(&adapter).join("adapter_config.json"), config.replace("\"r\": 4", "\"r\": 5"))
        .unwrap();
    run(&["check", &adapter, "--base", &base]);
    fs::write(Path::new(&adapter).join("adapter_config.json"), config).unwrap();
    // Of a format that the program does not read, so that there is something to repair.
    run(&["check", &gguf, "--base", &base, "--for", "vllm"]);
    // One has modules that the other lacks.
    let some = path("some");
    succeed(&["extract", &base, &tuned, "-o", &some, "-r", "2", "--include", "self_attn", "-q"]);
    run(&["diff", &adapter, &some]);
    run(&["prune", &adapter, "-o", &path("small"), "-r", "2"]);
    run(&["merge", &base, &adapter, "-o", &path("merged")]);
    run(&["report", &report, "-o", &path("page.html")]);
    for thing in [&base, &adapter, &report] {
        run(&["inspect", thing, "--modules"]);
    }
    let documented = documented();
    for (command, fields) in &printed {
        let listed = documented.get(*command).unwrap_or_else(|| panic!("docs/json.md has no {command}"));
        assert_eq!(listed, fields, "docs/json.md, phlora {command}");
    }
    // That of plan is a report itself, and that of diff for models.
    assert_eq!(documented.len(), printed.len() + 1);
    let plan = succeed(&["plan", &base, &tuned, "--max-rank", "4", "--json"]);
    assert!(serde_json::from_str::<Value>(&plan).unwrap()["modules"].is_array());
    let models = succeed(&["diff", &base, &tuned, "--max-rank", "4", "--json"]);
    let models: Value = serde_json::from_str(&models).unwrap();
    assert!(models["modules"].is_array() && models["diff"]["tensors"].is_array());
}
