//! The command line `sandbox`.
fn main() {}
