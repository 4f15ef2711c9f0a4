//! What an adapter's file says of where it comes from: texts by key, in the metadata of safetensors and GGUF files.
//!
//! Nothing of them depends on the day, the machine or a path, so that the same extraction gives the same bytes.

/// Keys of an extraction's own texts.
pub(crate) const VERSION: &str = "phlora.version";
pub(crate) const BASE: &str = "phlora.base";
pub(crate) const TUNED: &str = "phlora.tuned";
pub(crate) const POLICY: &str = "phlora.policy";
pub(crate) const ENERGY: &str = "phlora.energy";
pub(crate) const WHOLE: &str = "phlora.whole_energy";

/// All of them, as they are read back.
pub(crate) const KEYS: [&str; 6] = [VERSION, BASE, TUNED, POLICY, ENERGY, WHOLE];

/// Those that are no longer true when factors are cut.
pub(crate) const OF_FACTORS: [&str; 3] = [POLICY, ENERGY, WHOLE];

/// Hashes of the tensors as kohya's scripts state them: no longer true when factors are written anew.
pub(crate) const HASHES: [&str; 3] = ["sshs_model_hash", "sshs_legacy_hash", "modelspec.hash_sha256"];
