//! The library as programs use it: real commands, really confined.

#[cfg(test)]
mod operations;
#[cfg(test)]
mod running;
