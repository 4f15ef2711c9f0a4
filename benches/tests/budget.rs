//! A budget keeps at least as much as any rank for all of the same bytes, in f16 or q8_0.

use phlora_benches::{budget::compare, model::Sizes};
use std::path::Path;

#[test]
fn a_budget_beats_every_uniform_rank() {
    let root = tempfile::tempdir().unwrap();
    let real = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/data/tiny-llama");
    let mut pairs = vec![(real.join("base"), real.join("tuned"))];
    for uneven in 1..4 {
        let directory = root.path().join(uneven.to_string());
        let sizes = Sizes { layers: 2, hidden: 128, ffn: 256, kv: 64, vocab: 64, uneven };
        sizes.write(&directory).unwrap();
        pairs.push((directory.join("base.safetensors"), directory.join("tuned.safetensors")));
    }
    for (base, tuned) in pairs {
        for row in compare(&base, &tuned, &[4, 16], root.path()).unwrap() {
            assert!(row.used <= row.bytes, "{}: {row:?}", base.display());
            assert!(row.budget >= row.f16 && row.budget >= row.q8_0.0, "{}: {row:?}", base.display());
        }
    }
}
