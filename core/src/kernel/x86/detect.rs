//! Detects the instruction sets that the processor and its operating system support.

use core::arch::x86_64::__cpuid;
use core::sync::atomic::{AtomicU8, Ordering};

use crate::kernel::isa::Isa;

cpufeatures::new!(has_avx2, "avx2", "fma");
cpufeatures::new!(has_vbmi, "avx512vbmi");
cpufeatures::new!(has_avx512, "avx2", "fma", "avx512f", "avx512bw", "avx512dq", "avx512vl");

/// Whether the processor converts f16; `cpufeatures` has no name for it. Asked once: under a hypervisor the
/// question is slow.
fn has_f16c() -> bool {
    const UNKNOWN: u8 = 2;
    static KNOWN: AtomicU8 = AtomicU8::new(UNKNOWN);
    let mut known = KNOWN.load(Ordering::Relaxed);
    if known == UNKNOWN {
        known = (__cpuid(1).ecx >> 29 & 1) as u8;
        KNOWN.store(known, Ordering::Relaxed);
    }
    known == 1
}

/// The best instruction set of this processor and operating system.
pub fn detect() -> Isa {
    if !has_f16c() {
        Isa::Portable
    } else if has_avx512::get() {
        Isa::Avx512
    } else if has_avx2::get() {
        Isa::Avx2
    } else {
        Isa::Portable
    }
}

/// Whether the processor permutes bytes across a register of AVX-512.
pub fn permutes_bytes() -> bool {
    has_vbmi::get()
}
