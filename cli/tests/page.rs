//! The page of a report: its figures are the report's, and no name in it becomes markup.

mod common;

use common::{json, phlora, succeed, text, tiny_llama};
use std::fs;

#[test]
fn figures_equal_the_report() {
    let root = tempfile::tempdir().unwrap();
    let (base, tuned) = (tiny_llama("base"), tiny_llama("tuned"));
    let (report, page) = (root.path().join("r.json"), root.path().join("r.html"));
    let out = text(&root.path().join("a"));
    succeed(&["extract", &base, &tuned, "-o", &out, "--budget", "300kB", "--report", &text(&report), "-q"]);
    succeed(&["report", &text(&report), "-o", &text(&page)]);
    let (html, report) = (fs::read_to_string(&page).unwrap(), json(&report));
    let total = report["total"]["energy"].as_f64().unwrap();
    assert!(html.contains(&format!("id=\"energy\" value=\"{total}\"")), "{total}");
    assert!(html.contains(&format!("id=\"bytes_out\" value=\"{}\"", report["bytes_out"])));
    for module in report["modules"].as_array().unwrap() {
        let (name, energy) = (module["name"].as_str().unwrap(), module["energy"].as_f64().unwrap());
        let row = html.split(&format!("<th scope=\"row\">{name}</th>")).nth(1).unwrap();
        let row = row.split("</tr>").next().unwrap();
        assert!(row.contains(&format!("<td>{}</td>", module["rank"])), "{row}");
        assert!(row.contains(&format!("data-v=\"{energy}\"")), "{row}");
        assert!(row.contains(&format!("data-v=\"{}\"", module["bytes"])), "{row}");
    }
    // The bar's parts are all of the difference, and what is kept of it is the headline.
    let part = |class: &str| {
        let value = html.split(&format!("id=\"part-{class}\" value=\"")).nth(1);
        value.map_or(0.0, |rest| rest.split('"').next().unwrap().parse::<f64>().unwrap())
    };
    let all: f64 = ["kept", "beside", "rank", "rounding", "left"].map(part).iter().sum();
    assert!((all - 1.0).abs() < 1e-9, "{all}");
    assert!((part("kept") - report["total"]["whole_energy"].as_f64().unwrap()).abs() < 1e-9);
    // Who, how and when.
    let origin = &report["origin"];
    for text in [&origin["base"], &origin["tuned"], &origin["date"]] {
        assert!(html.contains(text.as_str().unwrap()), "{text}");
    }
    assert!(html.contains("<title>") && html.contains(" kept · base → tuned · phlora</title>"));
    assert!(origin["command"].as_str().unwrap().contains("--budget 300kB"), "{origin}");
    // Nothing is loaded from anywhere, nothing runs.
    for word in ["<script", "http:", "https:", "src=", "@import", "<link"] {
        assert!(!html.contains(word), "{word}");
    }
    // A reference within the page loads nothing.
    assert_eq!(html.matches("url(").count(), html.matches("url(#").count());
    assert!(html.contains("prefers-color-scheme: dark"));

    let again = ["report", &text(&root.path().join("r.json")), "-o", &text(&page)];
    assert_eq!(phlora(&again).0, 2);
    succeed(&[&again[..], &["--force"]].concat());
    fs::write(&page, "<html>mine</html>").unwrap();
    let (code, _, stderr) = phlora(&[&again[..], &["--force"]].concat());
    assert!(code == 2 && stderr.contains("not replaced"), "{stderr}");
}

#[test]
fn says_what_is_beside_the_factors_and_what_was_weighed() {
    let root = tempfile::tempdir().unwrap();
    let (report, page) = (root.path().join("r.json"), root.path().join("r.html"));
    let module = serde_json::json!({
        "name": "a", "layer": "", "kind": "a", "shape": [4, 3], "rank": 1, "energy": 0.5, "delta_norm": 3.0,
        "singular_values": [0.7], "reads": 1, "converged": true, "weighed": true
    });
    let total =
        serde_json::json!({"energy": 0.5, "delta_norm": 3.0, "parameters_in": 12, "parameters_out": 7});
    let full = serde_json::json!([
        {"name": "norm.weight", "kind": "norm", "delta_norm": 4.0, "bytes": 24},
        {"name": "wte.weight", "kind": "tokens", "rows": 3, "new_rows": 1, "delta_norm": 0.0, "bytes": 1000}
    ]);
    let made = |full: &serde_json::Value| {
        let json = serde_json::json!({
            "version": 1, "phlora": "0.1.0", "modules": [module], "full": full, "total": total, "left_out": [],
            "seconds": 1.0, "bytes_in": 1, "bytes_out": 1
        });
        fs::write(&report, json.to_string()).unwrap();
        succeed(&["report", &text(&report), "-o", &text(&page), "--force"]);
        fs::read_to_string(&page).unwrap()
    };
    let html = made(&full);
    assert!(html.contains("stored beside the factors: norm, tokens, 1.0 kB"));
    assert!(html.contains("data-share=\"0.64\"") && html.contains("id=\"outside\" value=\"0\""));
    assert!(html.contains("In 1 modules Δ stands for Δ·diag(s)"));
    let plain = made(&serde_json::json!([]));
    assert!(!plain.contains("beside the factors") && plain.contains("every tensor that differs has factors"));
}

#[test]
fn names_do_not_become_markup() {
    let root = tempfile::tempdir().unwrap();
    let hostile = "layers.0.</title></style><script>document.title='pwned'</script>\"' onload='x()' &amp;";
    let module = |name: &str| {
        serde_json::json!({
            "name": name, "layer": "layers.0", "kind": name, "shape": [4, 3], "rank": 1, "energy": 0.5,
            "delta_norm": 1.0, "singular_values": [0.7], "reads": 1, "converged": true
        })
    };
    let report = serde_json::json!({
        "version": 1, "phlora": hostile, "modules": [module(hostile), module("plain")],
        "policy": { "goal": hostile, "value": null, "max_rank": null, "multiple": 1, "uniform": true },
        "total": { "energy": 0.5, "delta_norm": 1.4, "parameters_in": 24, "parameters_out": 14 },
        "left_out": [{ "name": hostile, "reason": hostile, "delta_norm": 1.0 }],
        "seconds": 0.0, "bytes_in": 0, "bytes_out": 0
    });
    let (path, page) = (root.path().join("r.json"), root.path().join("r.html"));
    fs::write(&path, report.to_string()).unwrap();
    succeed(&["report", &text(&path), "-o", &text(&page)]);
    let html = fs::read_to_string(&page).unwrap();
    assert!(html.contains("&lt;script&gt;"), "{html}");
    assert!(!html.contains("<script") && !html.contains("' onload='x()' \""), "{html}");
    assert_eq!(html.matches("</title>").count(), html.matches("<title").count());
    assert_eq!(html.matches("</style>").count(), 1);
}

#[test]
fn what_is_no_report_is_refused() {
    let root = tempfile::tempdir().unwrap();
    let page = text(&root.path().join("r.html"));
    for (content, message) in [
        ("{}", "not a report"),
        ("nonsense", "not valid JSON"),
        (r#"{"version":99,"phlora":"9","modules":[]}"#, "a report of version 99"),
        (r#"{"version":1,"phlora":"0","modules":[]}"#, "not a sound report"),
    ] {
        let path = root.path().join("r.json");
        fs::write(&path, content).unwrap();
        let (code, _, stderr) = phlora(&["report", &text(&path), "-o", &page]);
        assert!(code == 2 && stderr.contains(message), "{content}: {stderr}");
    }
}

#[test]
fn sizes_beyond_all_numbers_are_no_overflow() {
    let root = tempfile::tempdir().unwrap();
    let (report, page) = (root.path().join("r.json"), root.path().join("r.html"));
    let module = serde_json::json!({
        "name": "a", "layer": "", "kind": "a", "shape": [4, 3], "rank": 1, "energy": 0.5, "delta_norm": 3.0,
        "singular_values": [0.7], "reads": 1, "converged": true, "bytes": u64::MAX
    });
    let total =
        serde_json::json!({"energy": 0.5, "delta_norm": 3.0, "parameters_in": 12, "parameters_out": 7});
    let full = serde_json::json!({"name": "n.weight", "kind": "norm", "delta_norm": 4.0, "bytes": u64::MAX});
    // Nor in points that are in no order.
    let point = |bytes: u64| serde_json::json!({"bytes": bytes, "energy": 0.5});
    let curve = [point(9), point(u64::MAX), point(3)];
    let content = serde_json::json!({
        "version": 1, "phlora": "0.1.0", "modules": [module, module], "total": total, "left_out": [], "full": [full, full],
        "curve": curve, "seconds": 0.0, "bytes_in": 0, "bytes_out": 0
    });
    fs::write(&report, content.to_string()).unwrap();
    succeed(&["report", &text(&report), "-o", &text(&page)]);
    succeed(&["inspect", &text(&report)]);
}

#[test]
fn a_report_named_html_is_the_page() {
    let root = tempfile::tempdir().unwrap();
    let (base, tuned) = (tiny_llama("base"), tiny_llama("tuned"));
    let page = |name: &str| text(&root.path().join(name));
    let read = |name: &str| fs::read_to_string(root.path().join(name)).unwrap();
    let (a, b) = (page("a"), page("b"));
    succeed(&["extract", &base, &tuned, "-o", &a, "--rank", "4", "-q", "--report", &page("a.html")]);
    assert!(read("a.html").contains("lost to rank"));
    succeed(&["extract", &base, &tuned, "-o", &b, "--rank", "2,8", "-q", "--report", &page("b.html")]);
    assert!(read("b-r2.html").contains("rank 2") && read("b-r8.html").contains("rank 8"));
    succeed(&["plan", &base, &tuned, "--max-rank", "64", "-q", "--report", &page("plan.html")]);
    let plan = read("plan.html");
    let (answer, maps) = (plan.find("take rank 64").unwrap(), plan.find("<section").unwrap());
    assert!(answer < maps && plan.contains("rank 64 · base → tuned · phlora plan</title>"));
    assert!(plan.contains("Directions behind rank 64 count as well"));
    succeed(&["diff", &base, &tuned, "-q", "--report", &page("diff.html")]);
    assert!(read("diff.html").contains("What moved, by kind"));
    succeed(&["diff", &a, &format!("{b}-r8"), "-q", "--report", &page("adapters.html")]);
    assert!(read("adapters.html").contains("is the cosine of the two adapters"));
    let (code, _, stderr) = phlora(&["plan", &base, &tuned, "-q", "--report", &page("plan.html")]);
    assert!(code == 2 && stderr.contains("exists"), "{stderr}");
}

#[test]
fn many_modules_stay_below_a_megabyte() {
    let root = tempfile::tempdir().unwrap();
    for layers in [32_usize, 286] {
        let kinds = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"];
        let module = |at: usize| {
            let (layer, kind) = (at / 7, kinds[at % 7]);
            let sigma: Vec<f64> = (1..=128).map(|i| 3.0 / f64::from(i).sqrt()).collect();
            serde_json::json!({
                "name": format!("model.layers.{layer}.mlp.{kind}"), "layer": format!("model.layers.{layer}"),
                "kind": format!("mlp.{kind}"), "shape": [4096, 4096], "rank": 16 + at % 5, "energy": 0.5 + at as f64 * 1e-4,
                "delta_norm": 3.0 + at as f64 * 0.01, "singular_values": sigma, "reads": 8, "converged": at.is_multiple_of(2),
                "noise_floor": 0.4, "noise_rank": 56, "bytes": 262_144
            })
        };
        let modules: Vec<_> = (0..7 * layers).map(module).collect();
        let report = serde_json::json!({
            "version": 1, "phlora": "0.1.0", "modules": modules, "left_out": [], "seconds": 1.0, "bytes_in": 1,
            "bytes_out": 1, "curve": [{"bytes": 0, "energy": 0.0}, {"bytes": 1_000_000_000, "energy": 0.7}],
            "total": {"energy": 0.5, "delta_norm": 300.0, "parameters_in": 1, "parameters_out": 1}
        });
        let (path, page) = (root.path().join("r.json"), root.path().join(format!("{layers}.html")));
        fs::write(&path, report.to_string()).unwrap();
        succeed(&["report", &text(&path), "-o", &text(&page)]);
        let size = fs::metadata(&page).unwrap().len();
        assert!(size < 1_000_000, "{layers}: {size}");
    }
}
