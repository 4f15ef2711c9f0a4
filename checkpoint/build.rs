//! Compresses the table of architectures, a tenth of the program as it is; `src/naming/memory/text.rs` reads it. Says
//! whether models are read from addresses.

use miniz_oxide::deflate::compress_to_vec;
use std::path::Path;
use std::{env, fs, io};

/// The level that compresses most.
const BEST: u8 = 10;

fn main() -> io::Result<()> {
    let table = "src/naming/memory/architectures.txt";
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-changed={table}");
    // Files at addresses need calls of Unix.
    println!("cargo:rustc-check-cfg=cfg(remote)");
    if env::var_os("CARGO_FEATURE_REMOTE").is_some() && env::var_os("CARGO_CFG_UNIX").is_some() {
        println!("cargo:rustc-cfg=remote");
    }
    let out = env::var_os("OUT_DIR").ok_or_else(|| io::Error::other("cargo sets OUT_DIR"))?;
    fs::write(Path::new(&out).join("architectures.deflate"), compress_to_vec(&fs::read(table)?, BEST))
}
