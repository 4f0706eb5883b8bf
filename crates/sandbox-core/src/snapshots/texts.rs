//! Paths in what is printed as JSON.

use std::path::{Path, PathBuf};

use serde::Serializer;

pub(crate) fn as_text<S: Serializer>(paths: &[PathBuf], to: S) -> Result<S::Ok, S::Error> {
    to.collect_seq(paths.iter().map(|path| path.to_string_lossy()))
}

pub(crate) fn one_as_text<S: Serializer>(path: &Path, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(&path.to_string_lossy())
}
