//! What is said where something is wrong.

use crate::*;

/// What goes wrong, for which weights, and what is said about it.
type Case = (&'static str, &'static [&'static str], fn(&Seen, usize) -> Option<Fault>);

#[test]
fn messages_name_the_address_and_what_to_do() {
    // Requests of weights after that of the header.
    const CASES: [Case; 10] = [
        ("never a byte", &["tensor", "the connection", "given up after 9 tries"], |seen, before| {
            (is_weights(seen) && before > 2).then_some(Fault::Cut(0))
        }),
        ("lost ranges", &["tensor", "does not answer requests for ranges", "download"], |seen, before| {
            (is_weights(seen) && before > 2).then_some(Fault::NoRanges)
        }),
        ("other bytes", &["tensor", "where", "are asked for"], |seen, before| {
            (is_weights(seen) && before > 2).then_some(Fault::OtherRange)
        }),
        ("another length", &["tensor", "has changed", "bytes long, not 3450552"], |seen, before| {
            (is_weights(seen) && before > 2).then_some(Fault::Length(3_450_000))
        }),
        ("too long from the start", &["at its end belong to no tensor"], |seen, _| {
            is_weights(seen).then_some(Fault::Length(4_000_000))
        }),
        ("another version", &["tensor", "has changed since it was opened", "start again"], |seen, before| {
            (is_weights(seen) && before > 2).then_some(Fault::Tag("\"version-2\""))
        }),
        ("refused", &["HTTP 403", "does not let everybody read"], |seen, _| {
            (is_weights(seen)).then_some(Fault::Status(403, ""))
        }),
        ("gone", &["tensor", "HTTP 410", "no such file"], |seen, before| {
            (is_weights(seen) && before > 2).then_some(Fault::Status(410, ""))
        }),
        ("not implemented", &["HTTP 501", "download"], |seen, _| {
            is_weights(seen).then_some(Fault::Status(501, ""))
        }),
        ("a loop", &["redirects more than"], |seen, _| {
            is_weights(seen).then_some(Fault::Status(302, "Location: model.safetensors"))
        }),
    ];
    let root = tempfile::tempdir().unwrap();
    for (name, expected, rule) in CASES {
        let server = Server::start(data(), None, rule);
        let base = server.url("tiny-llama/base/model.safetensors");
        let (out, spool) = (root.path().join("out"), root.path().join("spool"));
        let _ = fs::create_dir(&spool);
        let args = ["extract", &base, &tiny_llama("tuned"), "-o", &text(&out), "--spool", &text(&spool)];
        let (code, _, stderr) = run(&server, root.path(), &args, &[]);
        assert_eq!(code, 2, "{name}: {stderr}");
        assert!(stderr.contains(&base), "{name}: {stderr}");
        assert!(expected.iter().all(|text| stderr.contains(text)), "{name}: {stderr}");
        assert!(!out.exists() && names(&spool).is_empty(), "{name}");
        assert_eq!(names(root.path()), ["spool"], "{name}");
    }
}

#[test]
fn the_hub_is_understood_where_it_refuses() {
    let root = tempfile::tempdir().unwrap();
    let server = Server::start(data(), Some("hf_right"), no_fault);
    for (address, token, expected) in [
        ("hf://tiny-llama/base", "", "private or gated, or does not exist: set HF_TOKEN"),
        ("hf://tiny-llama/base", "hf_old", "the token is not accepted, expired perhaps"),
        ("hf://tiny-llama/bass", "hf_right", "there is no model tiny-llama/bass"),
        ("hf://tiny-llama/base@v2", "hf_right", "has no revision v2"),
        ("hf://tiny-llama/base/other.gguf", "hf_right", "no such file in the model"),
        ("hf://tiny-llama/base/sub", "hf_right", "name the file of the weights"),
        ("hf://base", "hf_right", "expected hf://ORG/MODEL"),
    ] {
        let (code, _, stderr) = run(&server, root.path(), &["inspect", address], &[("HF_TOKEN", token)]);
        assert!(code == 2 && stderr.contains(expected) && stderr.contains(address), "{address}: {stderr}");
    }
    let args = ["inspect", "hf://tiny-llama/base"];
    let nobody = [("HF_ENDPOINT", "http://127.0.0.1:9"), ("HF_TOKEN", "hf_right")];
    let (code, _, stderr) = run(&server, root.path(), &args, &nobody);
    assert!(
        code == 2 && stderr.contains("no answer of 127.0.0.1:9") && stderr.contains("try again later"),
        "{stderr}"
    );
    let spool = [&args[..], &["--spool", "/nowhere"]].concat();
    let (code, _, stderr) = run(&server, root.path(), &spool, &[("HF_TOKEN", "hf_right")]);
    assert!(code == 2 && stderr.contains("/nowhere"), "{stderr}");
}
