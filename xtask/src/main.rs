//! Maintainers tasks.
fn main() {}
