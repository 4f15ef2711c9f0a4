//! The `phlora` command.
fn main() {}
