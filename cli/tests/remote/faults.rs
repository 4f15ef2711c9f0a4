//! Connections that break and addresses that expire.

use crate::*;

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
