//! Instruction sets: a file for each.

#[cfg(target_arch = "x86_64")]
pub mod avx2;
#[cfg(target_arch = "x86_64")]
pub mod avx512;
#[cfg(target_arch = "x86_64")]
pub mod avx512_vbmi;
#[cfg(target_arch = "x86_64")]
mod convert;
#[cfg(target_arch = "aarch64")]
pub mod neon;
