//! The rule packs that a configuration names, and the texts of the scripts that an operation names.

use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
};

use sandbox_safety::{PackError, RulePack, scripts_named_by};
use sandbox_types::Operation;

use crate::plain_file;

/// A rule pack is at most so large.
const PACK_BYTES_MAX: u64 = 1024 * 1024;
/// Larger scripts are left to the confinement.
const SCRIPT_BYTES_MAX: u64 = 256 * 1024;
/// Of one operation, so many scripts are read.
const SCRIPTS_MAX: usize = 16;

/// A rule pack that the configuration names cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RulePackError {
    /// The file cannot be read.
    #[error("cannot read the rule pack {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A guest could have written it.
    #[error("cannot use the rule pack {}: it lies inside of the workspace, where a command of a sandbox could change it; keep it outside, or check it alone with `sandbox policy validate`", path.display())]
    InWorkspace {
        /// The file.
        path: PathBuf,
    },
    /// What it says is wrong.
    #[error(transparent)]
    Pack(#[from] PackError),
}

/// Reads the rule packs of a configuration.
///
/// # Errors
///
/// When one cannot be read, lies inside of `workspace`, or says something wrong: no pack is ever
/// left out silently.
pub fn rule_packs(paths: &[PathBuf], workspace: &Path) -> Result<Vec<RulePack>, RulePackError> {
    paths
        .iter()
        .map(|path| rule_pack(path, Some(workspace)))
        .collect()
}

/// Reads one rule pack, wherever it lies if no workspace is given.
///
/// # Errors
///
/// As [`rule_packs`].
pub fn rule_pack(path: &Path, workspace: Option<&Path>) -> Result<RulePack, RulePackError> {
    rule_pack_with(path, workspace, &[])
}

/// Like [`rule_pack`], where plugins add `types` of operations.
pub(crate) fn rule_pack_with(
    path: &Path,
    workspace: Option<&Path>,
    types: &[&str],
) -> Result<RulePack, RulePackError> {
    let failed = |source| RulePackError::Read {
        path: path.to_owned(),
        source,
    };
    let real = path.canonicalize().map_err(failed)?;
    let workspace = workspace.and_then(|it| it.canonicalize().ok());
    if workspace.is_some_and(|it| real.starts_with(it)) {
        return Err(RulePackError::InWorkspace {
            path: path.to_owned(),
        });
    }
    let text = plain_file::read(&real, PACK_BYTES_MAX).map_err(failed)?;
    let text = String::from_utf8(text)
        .map_err(|_no_text| failed(io::Error::new(io::ErrorKind::InvalidData, "it is no UTF-8")))?;
    Ok(RulePack::parse_with(&path.to_string_lossy(), &text, types)?)
}

/// Returns the texts of the scripts and build files that the operation names, as far as they lie in
/// `directory`, where it runs, and can be read.
///
/// It is only told to the judge; what it cannot read is left to the confinement.
pub(crate) fn named_scripts(operation: &Operation, directory: &Path) -> BTreeMap<String, String> {
    let Ok(real) = directory.canonicalize() else {
        return BTreeMap::new();
    };
    let Ok(top) = plain_file::directory(&real) else {
        return BTreeMap::new();
    };
    let names = scripts_named_by(operation);
    let texts = names.into_iter().take(SCRIPTS_MAX).filter_map(|name| {
        let path = Path::new(&name);
        // A name or a link that leads out of it is not followed: somebody else may have chosen what it tells.
        let below = match path.strip_prefix(directory) {
            Ok(below) => below,
            Err(_) => path,
        };
        let bytes = plain_file::read_beneath(&top, below, SCRIPT_BYTES_MAX).ok()?;
        let text = String::from_utf8(bytes).ok()?;
        Some((name, text))
    });
    texts.collect()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use sandbox_types::Operation;

    use super::{RulePackError, named_scripts, rule_packs};

    const PACK: &str = "pack: p\ndeny: [{command: x, why: no}]\n";

    #[test]
    fn a_pack_in_the_workspace_or_a_broken_one_is_refused() {
        let place = tempfile::tempdir().unwrap();
        let workspace = place.path().join("w");
        fs::create_dir(&workspace).unwrap();
        let (good, bad) = (
            place.path().join("good.yaml"),
            place.path().join("bad.yaml"),
        );
        fs::write(&good, PACK).unwrap();
        fs::write(&bad, "pack: p\ndenny: []\n").unwrap();
        fs::write(workspace.join("in.yaml"), PACK).unwrap();
        let load = |path: &std::path::Path| rule_packs(&[path.to_owned()], &workspace);
        assert_eq!(load(&good).unwrap()[0].name(), "p");
        let error = load(&bad).unwrap_err().to_string();
        assert!(
            error.contains("bad.yaml:2:1: unknown field `denny`"),
            "{error}"
        );
        assert!(matches!(
            load(&workspace.join("in.yaml")),
            Err(RulePackError::InWorkspace { .. })
        ));
        let link = place.path().join("link.yaml");
        std::os::unix::fs::symlink(workspace.join("in.yaml"), &link).unwrap();
        assert!(matches!(
            load(&link),
            Err(RulePackError::InWorkspace { .. })
        ));
        assert!(matches!(
            load(&place.path().join("none.yaml")),
            Err(RulePackError::Read { .. })
        ));
    }

    #[test]
    fn only_plain_files_where_it_runs_are_read() {
        let place = tempfile::tempdir().unwrap();
        let (inside, outside) = (place.path().join("w"), place.path().join("o"));
        fs::create_dir(&inside).unwrap();
        fs::write(&outside, "secret").unwrap();
        fs::write(inside.join("x.sh"), "echo hi").unwrap();
        std::os::unix::fs::symlink(&outside, inside.join("l.sh")).unwrap();
        let pipe = inside.join("p.sh");
        rustix::fs::mknodat(
            rustix::fs::CWD,
            &pipe,
            rustix::fs::FileType::Fifo,
            rustix::fs::Mode::RUSR,
            0,
        )
        .unwrap();
        fs::create_dir(place.path().join("d")).unwrap();
        fs::write(place.path().join("d/x.sh"), "secret").unwrap();
        std::os::unix::fs::symlink("../d", inside.join("sub")).unwrap();
        let text = format!(
            "sh x.sh; sh l.sh; sh p.sh; sh {}; sh none.sh; sh sub/x.sh; sh ../d/x.sh",
            outside.display()
        );
        let texts = named_scripts(&Operation::shell(text), &inside);
        assert_eq!(texts.into_keys().collect::<Vec<_>>(), ["x.sh"]);
    }
}
