//! Models at addresses, from a server of these tests: the same adapters as from files, no byte twice, and messages that help
//! where something is wrong.
#![cfg(feature = "remote")]

#[path = "../common/mod.rs"]
mod common;
mod messages;
mod server;

use common::{
    Tensors, command, extract_tiny, names, noise, outcome, small_pair, text, tiny_llama, write_model,
};
use phlora_core::Dtype::F32;
use serde_json::Value;
use server::{Fault, Seen, Server};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

fn data() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/data")
}

/// Runs the command with nothing of the user's environment that credentials come from.
fn run(server: &Server, root: &Path, args: &[&str], more: &[(&str, &str)]) -> (i32, String, String) {
    let mut command = command();
    for name in
        ["HF_TOKEN", "HF_TOKEN_PATH", "HF_HOME", "XDG_CACHE_HOME", "http_proxy", "HTTP_PROXY", "ALL_PROXY"]
    {
        command.env_remove(name);
    }
    command.env("HF_ENDPOINT", server.endpoint()).env("HOME", root).env("NO_PROXY", "*");
    outcome(&command.args(args).envs(more.iter().copied()).output().unwrap())
}

fn no_fault(_: &Seen, _: usize) -> Option<Fault> {
    None
}

/// Of weights, not of configurations.
fn is_weights(seen: &Seen) -> bool {
    seen.path.contains(".safetensors") && !seen.path.contains(".json")
}

/// Bytes of weights that were sent, and those of both files.
fn traffic(server: &Server) -> (usize, usize) {
    let sent = server.requests().iter().filter(|seen| is_weights(seen)).map(|seen| seen.sent).sum();
    let length = |side: &str| fs::metadata(data().join(side).join("model.safetensors")).unwrap().len();
    (sent, (length("tiny-llama/base") + length("tiny-llama/tuned")) as usize)
}

fn weights(adapter: &Path) -> Vec<u8> {
    fs::read(adapter.join("adapter_model.safetensors")).unwrap()
}

/// The header of the weights and what follows it.
fn header(adapter: &Path) -> (Value, Vec<u8>) {
    let bytes = weights(adapter);
    let length = usize::try_from(u64::from_le_bytes(bytes[..8].try_into().unwrap())).unwrap();
    (serde_json::from_slice(&bytes[8..8 + length]).unwrap(), bytes[8 + length..].to_vec())
}

/// Holds the adapter from the hub to that from the files: both are the same but for the names of the models, which are
/// those of the directories here and those of the hub there.
fn assert_same_but_for_names(near: &Path, far: &Path) {
    let ((mut near, near_factors), (far, far_factors)) = (header(near), header(far));
    for side in ["base", "tuned"] {
        let name = &mut near["__metadata__"][format!("phlora.{side}")];
        assert_eq!(*name, side);
        *name = format!("tiny-llama/{side}").into();
    }
    assert_eq!(near, far);
    assert_eq!(near_factors, far_factors);
}

#[test]
fn the_hub_gives_the_same_adapter_and_its_storage_no_token() {
    let root = tempfile::tempdir().unwrap();
    let (near, far) = (root.path().join("near"), root.path().join("far"));
    extract_tiny(&near, &["--rank", "8"]);
    let token = "hf_secret";
    let server = Server::start(data(), Some(token), no_fault);
    fs::create_dir_all(root.path().join(".cache/huggingface")).unwrap();
    fs::write(root.path().join(".cache/huggingface/token"), format!("{token}\n")).unwrap();
    let spool = root.path().join("spool");
    fs::create_dir(&spool).unwrap();
    let args =
        ["extract", "hf://tiny-llama/base", "hf://tiny-llama/tuned", "--rank", "8", "-q", "-o", &text(&far)];
    let (code, _, stderr) =
        run(&server, root.path(), &[&args[..], &["--spool", &text(&spool)]].concat(), &[]);
    assert_eq!((code, stderr.as_str()), (0, ""));
    assert_same_but_for_names(&near, &far);
    assert_eq!(names(&spool), Vec::<String>::new());
    let config = fs::read_to_string(far.join("adapter_config.json")).unwrap();
    assert!(config.contains("\"tiny-llama/base\"") && !config.contains("hf://"), "{config}");

    let (sent, whole) = traffic(&server);
    assert!(sent as f64 <= 1.02 * whole as f64, "{sent} of {whole} bytes");
    for seen in server.requests() {
        let at_storage = seen.host.starts_with("localhost");
        assert_eq!(at_storage, seen.path.starts_with("/storage"), "{seen:?}");
        assert_eq!(seen.token.is_some(), !at_storage, "{seen:?}");
    }
    // What was asked for after the first answer is of the commit that it names.
    let asked: Vec<_> =
        server.requests().into_iter().filter(|seen| seen.path.contains("/resolve/")).collect();
    assert!(asked[0].path.contains("/resolve/main/"));
    let main = asked.iter().filter(|seen| seen.path.contains("/resolve/main/")).count();
    assert!(main <= 4 && main < asked.len(), "{main} of {}", asked.len());
}

#[test]
fn every_command_that_reads_models_takes_addresses() {
    let root = tempfile::tempdir().unwrap();
    let (near, gguf) = (root.path().join("near"), root.path().join("near.gguf"));
    extract_tiny(&near, &[]);
    let server = Server::start(data(), None, no_fault);
    let (base, tuned) = (server.url("tiny-llama/base"), server.url("tiny-llama/tuned/model.safetensors"));
    let near = text(&near);
    for (args, expected) in [
        (vec!["inspect", &base], "LlamaForCausalLM (type llama)"),
        (vec!["inspect", &tuned], "LlamaForCausalLM (type llama)"),
        (vec!["plan", &base, &tuned, "--max-rank", "16"], "policy"),
        (vec!["verify", &base, &tuned, &near], "kept over 28 modules"),
        (vec!["check", &near, "--base", &base], ""),
        (vec!["convert", &near, "--base", &base, "-o", &text(&gguf)], "near.gguf"),
    ] {
        let (code, stdout, stderr) = run(&server, root.path(), &args, &[]);
        assert!(code == 0 && stdout.contains(expected), "{args:?}: {code} {stdout} {stderr}");
    }
    let before = server.requests().len();
    let (code, ..) = run(&server, root.path(), &["inspect", &base], &[]);
    assert_eq!(code, 0);
    let sent: usize = server.requests()[before..].iter().map(|seen| seen.sent).sum();
    assert!(sent < 70_000, "{sent} bytes for the header alone");
    let merged = text(&root.path().join("merged"));
    let (code, _, stderr) = run(&server, root.path(), &["merge", &base, &near, "-o", &merged], &[]);
    assert!(code == 2 && stderr.contains("download the model") && !Path::new(&merged).exists(), "{stderr}");
    let (code, _, stderr) = run(&server, root.path(), &["verify", &base, &base, &base], &[]);
    assert!(code == 2 && stderr.contains("an adapter is read from files"), "{stderr}");
}

#[test]
fn shards_and_small_spools_give_the_same_adapter() {
    let root = tempfile::tempdir().unwrap();
    let model = data().join("tiny-llama");
    for side in ["base", "tuned"] {
        let bytes = fs::read(model.join(side).join("model.safetensors")).unwrap();
        let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
        let directory = root.path().join(side);
        fs::create_dir(&directory).unwrap();
        fs::copy(model.join(side).join("config.json"), directory.join("config.json")).unwrap();
        let mut map = serde_json::Map::new();
        for number in 0..3 {
            let name = format!("model-{number}.safetensors");
            let names = file.names().into_iter().filter(|tensor| tensor.len() % 3 == number);
            let tensors: Vec<_> =
                names.map(|tensor| (tensor.to_owned(), file.tensor(tensor).unwrap())).collect();
            map.extend(tensors.iter().map(|(tensor, _)| (tensor.clone(), name.clone().into())));
            fs::write(directory.join(&name), safetensors::serialize(tensors, None).unwrap()).unwrap();
        }
        let index = serde_json::json!({ "weight_map": map }).to_string();
        fs::write(directory.join("model.safetensors.index.json"), index).unwrap();
    }
    let server = Server::start(root.path(), None, no_fault);
    let (base, tuned) = (server.url("base"), server.url("tuned"));
    let near = root.path().join("near");
    for (policy, size) in
        [(vec!["--rank", "4"], "450kB"), (vec!["--budget", "200kB", "--max-rank", "32"], "450kB")]
    {
        let far = root.path().join("far");
        extract_tiny(&near, &[&policy[..], &["--force"]].concat());
        let args = ["extract", &base, &tuned, "-q", "--force", "-o", &text(&far), "--spool-size", size];
        let (code, _, stderr) = run(&server, root.path(), &[&args[..], &policy].concat(), &[]);
        assert_eq!((code, stderr.as_str()), (0, ""), "{policy:?}");
        assert_eq!(weights(&near), weights(&far), "{policy:?}");
    }
    // The largest weight of both sides takes 393,216 bytes.
    let out = text(&root.path().join("none"));
    let args = ["extract", &base, &tuned, "-o", &out, "--spool-size", "300kB"];
    let (code, _, stderr) = run(&server, root.path(), &args, &[]);
    assert!(
        code == 2 && stderr.contains(&base) && stderr.contains("tensor") && stderr.contains("--spool-size"),
        "{stderr}"
    );
    assert!(!Path::new(&out).exists());
}

#[test]
fn a_base_of_several_fine_tunes_is_fetched_once() {
    let root = tempfile::tempdir().unwrap();
    for (name, side) in [("base", "base"), ("chat", "tuned"), ("code", "tuned")] {
        let directory = root.path().join(name);
        fs::create_dir(&directory).unwrap();
        for file in ["config.json", "model.safetensors"] {
            fs::copy(data().join("tiny-llama").join(side).join(file), directory.join(file)).unwrap();
        }
    }
    let near = root.path().join("near");
    extract_tiny(&near, &["--rank", "4"]);
    let length = |side: &str| fs::metadata(root.path().join(side).join("model.safetensors")).unwrap().len();
    for size in ["400kB", "1GB"] {
        let server = Server::start(root.path(), None, no_fault);
        let [base, chat, code] =
            ["base", "chat", "code"].map(|side| server.url(&format!("{side}/model.safetensors")));
        // One of the fine-tunes is a file.
        let here = text(&root.path().join("chat"));
        for (number, first) in [&chat, &here].into_iter().enumerate() {
            let before = server.requests().len();
            let out = root.path().join(format!("out-{number}-{size}"));
            let args = ["extract", &base, first, &code, "-q", "-o", &text(&out), "--spool-size", size];
            let (status, _, stderr) = run(&server, root.path(), &[&args[..], &["-r", "4"]].concat(), &[]);
            assert_eq!((status, stderr.as_str()), (0, ""));
            for name in ["chat", "code"] {
                assert_eq!(header(&out.join(name)).1, header(&near).1, "{name}");
            }
            for (name, fetched) in [("base", true), ("chat", number == 0), ("code", true)] {
                let seen = server.requests();
                let of = seen[before..].iter().filter(|seen| is_weights(seen) && seen.path.contains(name));
                let sent: usize = of.map(|seen| seen.sent).sum();
                let most = if fetched { 1.02 * length(name) as f64 } else { 0.0 };
                assert!(sent as f64 <= most, "{name}: {sent} bytes, expected at most {most}");
            }
        }
    }
}

#[test]
fn a_head_that_is_here_does_not_wait_for_what_has_no_room() {
    const DIM: usize = 256;
    let root = tempfile::tempdir().unwrap();
    let side = |prefix: &str, scale: f32| {
        (0..8).fold(Tensors::default(), |model, layer| {
            let path = format!("{prefix}encoder.layer.{layer}.attention.self.query.weight");
            let weight: Vec<f32> = noise(layer + 1, DIM * DIM, 1.0).iter().map(|x| x * scale).collect();
            model.add(&path, &[DIM, DIM], F32, &weight)
        })
    };
    let config = |class: &str| format!(r#"{{"model_type": "bert", "architectures": ["{class}"]}}"#);
    write_model(&root.path().join("base"), &side("", 1.0), &config("BertModel"));
    // The largest job, and the first, has nothing at an address.
    let tuned =
        side("bert.", 1.5).add("classifier.weight", &[8 * DIM, DIM], F32, &noise(20, 8 * DIM * DIM, 1.0));
    let tuned = write_model(&root.path().join("tuned"), &tuned, &config("BertForSequenceClassification"));
    let server = Server::start(root.path(), None, no_fault);
    let (base, out) = (server.url("base"), text(&root.path().join("out")));
    let args = [
        "extract",
        &base,
        &tuned,
        "-q",
        "-o",
        &out,
        "--rank",
        "2",
        "--threads",
        "1",
        "--spool-size",
        "600kB",
    ];
    let (code, _, stderr) = run(&server, root.path(), &args, &[]);
    assert_eq!(code, 0, "{stderr}");
}

#[test]
fn broken_connections_and_busy_servers_cost_time_alone() {
    let root = tempfile::tempdir().unwrap();
    let (near, far) = (root.path().join("near"), root.path().join("far"));
    extract_tiny(&near, &["--rank", "8"]);
    let server = Server::start(data(), None, |seen, before| match before {
        1 if seen.path.contains("config.json") => None,
        0 => Some(Fault::Status(503, "")),
        1 => Some(Fault::Status(429, "Retry-After: 1")),
        // A third of the pieces is cut in its middle.
        _ if is_weights(seen) && before % 3 == 0 => Some(Fault::Cut(10_000)),
        _ => None,
    });
    let args =
        ["extract", "hf://tiny-llama/base", "hf://tiny-llama/tuned", "--rank", "8", "-q", "-o", &text(&far)];
    let (code, _, stderr) = run(&server, root.path(), &args, &[]);
    assert_eq!((code, stderr.as_str()), (0, ""));
    assert_same_but_for_names(&near, &far);
    let cut = server.requests().iter().filter(|seen| seen.sent == 10_000).count();
    let (sent, whole) = traffic(&server);
    assert!(
        cut > 5 && sent as f64 <= 1.02 * whole as f64 + 10_000.0 * cut as f64,
        "{sent} of {whole} bytes, {cut} cut"
    );
}

#[test]
fn a_signed_address_that_expires_is_asked_for_again() {
    let root = tempfile::tempdir().unwrap();
    let (near, far) = (root.path().join("near"), root.path().join("far"));
    extract_tiny(&near, &["--rank", "8"]);
    let server = Server::start(data(), None, |seen, before| {
        (seen.path.contains("/storage") && before == 5).then_some(Fault::Status(403, ""))
    });
    let args =
        ["extract", "hf://tiny-llama/base", "hf://tiny-llama/tuned", "--rank", "8", "-q", "-o", &text(&far)];
    let (code, _, stderr) = run(&server, root.path(), &args, &[]);
    assert_eq!((code, stderr.as_str()), (0, ""));
    assert_same_but_for_names(&near, &far);
}

/// What goes wrong, for which weights, and what is said about it.
type Case = (&'static str, &'static [&'static str], fn(&Seen, usize) -> Option<Fault>);

#[test]
fn parts_of_an_extraction_know_the_version_of_a_model() {
    let root = tempfile::tempdir().unwrap();
    let (base, tuned) = small_pair();
    write_model(&root.path().join("base"), &base, "{}");
    write_model(&root.path().join("tuned"), &tuned, "{}");
    let part = |name: &str| text(&root.path().join(name));
    let old = Server::start(root.path(), None, no_fault);
    let new = Server::start(root.path(), None, |_, _| Some(Fault::Tag("\"version-2\"")));
    let one = ["extract", "hf://o/base", "hf://o/tuned", "--rank", "2"];
    fs::create_dir(root.path().join("o")).unwrap();
    for side in ["base", "tuned"] {
        fs::rename(root.path().join(side), root.path().join("o").join(side)).unwrap();
    }
    for (server, shard) in [(&old, "1/2"), (&old, "2/2"), (&new, "2/2")] {
        let name = part(&format!("{}-{}", server.port, &shard[..1]));
        let args = [&one[..], &["--shard", shard, "-o", &name, "-q"]].concat();
        let (code, _, stderr) = run(server, root.path(), &args, &[]);
        assert_eq!((code, stderr.as_str()), (0, ""));
    }
    let join = |second: &Server| {
        let parts = [part(&format!("{}-1", old.port)), part(&format!("{}-2", second.port))];
        let (out, from) = (part(&format!("joined-{}", second.port)), second);
        run(from, root.path(), &["join", &parts[0], &parts[1], "-o", &out, "-q"], &[])
    };
    let (code, _, stderr) = join(&new);
    assert!(code == 2 && stderr.contains("before they changed"), "{stderr}");
    let (code, _, stderr) = join(&old);
    assert_eq!((code, stderr.as_str()), (0, ""));
}

#[test]
#[cfg(unix)]
fn an_interruption_says_what_is_kept_and_how_to_go_on() {
    let root = tempfile::tempdir().unwrap();
    // Some weights come, then none any more.
    let stalls = |seen: &Seen, before: usize| {
        if is_weights(seen) && before >= 12 {
            std::thread::sleep(Duration::from_secs(600));
        }
        None
    };
    let stalled = Server::start(data(), None, stalls);
    let (out, part) = (root.path().join("out"), root.path().join("out.part"));
    let words = |server: &Server| {
        let base = server.url("tiny-llama/base/model.safetensors");
        let more =
            ["-o", &text(&out), "--rank", "4", "--resume", "--connections", "1", "--spool-size", "2MB"];
        let tuned = tiny_llama("tuned");
        let words = ["extract", &base, &tuned].into_iter().chain(more);
        words.map(str::to_owned).collect::<Vec<_>>()
    };
    let started = command()
        .args(words(&stalled))
        .env("HOME", root.path())
        .env("NO_PROXY", "*")
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let wait = |until: &dyn Fn() -> bool| {
        let end = Instant::now() + Duration::from_secs(60);
        while !until() {
            assert!(Instant::now() < end, "nothing is kept");
            std::thread::sleep(Duration::from_millis(20));
        }
    };
    let length = || fs::metadata(&part).map_or(0, |file| file.len());
    // Beyond its header.
    wait(&|| length() > 10_000);
    let signal = Command::new("kill").args(["-INT", &started.id().to_string()]).status().unwrap();
    assert!(signal.success());
    let (code, _, stderr) = outcome(&started.wait_with_output().unwrap());
    let expected = format!(
        "phlora: cancelled; what is finished is kept in {}: the same command goes on from there, with --fresh it starts again\n",
        part.display()
    );
    assert_eq!((code, stderr), (130, expected));
    assert_eq!(names(root.path()), ["out.part"]);
}
