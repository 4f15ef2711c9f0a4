//! The instruction sets that tests run: all that the machine has, as the standard library finds them.

use phlora_core::Kernel;
use std::{io::Write, sync::Once};

/// Names of the kernels that this machine must have, slowest first.
fn expected() -> Vec<&'static str> {
    let mut names = vec!["portable"];
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::is_x86_feature_detected as has;
        let avx2 = has!("avx2") && has!("fma") && has!("f16c");
        let avx512 = avx2 && has!("avx512f") && has!("avx512bw") && has!("avx512dq") && has!("avx512vl");
        let vbmi = avx512 && has!("avx512vbmi");
        let sets = [("avx2", avx2), ("avx512", avx512), ("avx512vbmi", vbmi)];
        names.extend(sets.into_iter().filter(|&(_, is_there)| is_there).map(|(name, _)| name));
    }
    #[cfg(target_arch = "aarch64")]
    names.push("neon");
    names
}

/// Every kernel that this machine runs; says once which, whether tests are captured or not.
///
/// # Panics
/// When one that the machine has is missing.
pub fn kernels() -> impl Iterator<Item = Kernel> {
    static SAID: Once = Once::new();
    let names: Vec<_> = Kernel::available().map(Kernel::name).collect();
    assert_eq!(names, expected(), "the kernels that run are those that the machine has");
    SAID.call_once(|| {
        // The macros would be captured.
        let said = writeln!(std::io::stderr(), "kernels covered: {}", names.join(", "));
        debug_assert!(said.is_ok());
    });
    Kernel::available()
}
