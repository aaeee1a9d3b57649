//! The `csd` command.
fn main() {}
