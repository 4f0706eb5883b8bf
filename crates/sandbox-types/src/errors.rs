//! Helpers for clear errors: the chain of causes, the nearest known name.

use std::error::Error;

/// Returns the message of `error` and of each of its sources, outermost first.
pub fn causes(error: &dyn Error) -> Vec<String> {
    let mut chain = vec![error.to_string()];
    let mut source = error.source();
    while let Some(inner) = source {
        chain.push(inner.to_string());
        source = inner.source();
    }
    chain
}

/// Returns the known name that `given` was probably meant to be.
pub fn nearest<'a>(given: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    known
        .into_iter()
        .map(|name| (strsim::damerau_levenshtein(given, name), name))
        .filter(|(distance, name)| *distance <= 1.max(name.len().max(given.len()) / 3))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::nearest;

    #[test]
    fn a_typo_finds_its_name() {
        assert_eq!(
            nearest("memroy_mb", ["memory_mb", "cpu_percent"]),
            Some("memory_mb")
        );
        assert_eq!(nearest("colour", ["memory_mb", "cpu_percent"]), None);
    }
}
