//! Builds the C side of the target `calls`.

fn main() {
    println!("cargo::rerun-if-changed=c/calls.c");
    println!("cargo::rerun-if-changed=../include/phlora.h");
    cc::Build::new().file("c/calls.c").include("../include").std("c11").warnings(true).compile("calls");
}
