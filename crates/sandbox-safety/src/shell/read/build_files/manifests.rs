//! Manifests with named scripts: `package.json`, `composer.json`, `deno.json`, `Taskfile.yml`.

use std::collections::BTreeMap;

use serde::Deserialize;

/// A script may run others of its file so deep.
const DEPTH_MAX: usize = 8;

/// What a script is, in any of these files.
#[derive(Deserialize)]
#[serde(untagged)]
enum Script {
    Text(String),
    Texts(Vec<Self>),
    Task(Task),
    Other(serde::de::IgnoredAny),
}

#[derive(Deserialize)]
struct Task {
    #[serde(default)]
    cmds: Vec<Script>,
    #[serde(default, alias = "command")]
    cmd: Option<Box<Script>>,
    #[serde(default)]
    deps: Vec<Script>,
    #[serde(default, rename = "task")]
    other: Option<String>,
}

type Scripts = BTreeMap<String, Script>;

impl Script {
    /// Adds its texts; what it says of others is looked up in `all`.
    fn texts(&self, all: &Scripts, depth: usize, into: &mut Vec<String>) {
        if depth > DEPTH_MAX {
            return;
        }
        match self {
            Self::Text(text) => match text.strip_prefix('@').and_then(|it| all.get(it)) {
                Some(other) => other.texts(all, depth + 1, into),
                None => into.push(text.trim_start_matches('@').to_owned()),
            },
            Self::Texts(texts) => {
                for text in texts {
                    text.texts(all, depth + 1, into);
                }
            }
            Self::Task(task) => {
                for other in &task.deps {
                    match other {
                        Self::Text(name) => named(all, name, depth, into),
                        Self::Texts(_) | Self::Task(_) | Self::Other(_) => {
                            other.texts(all, depth + 1, into);
                        }
                    }
                }
                if let Some(name) = &task.other {
                    named(all, name, depth, into);
                }
                for text in task.cmd.iter().map(AsRef::as_ref).chain(&task.cmds) {
                    text.texts(all, depth + 1, into);
                }
            }
            Self::Other(_) => {}
        }
    }
}

fn named(all: &Scripts, name: &str, depth: usize, into: &mut Vec<String>) {
    if let Some(script) = all.get(name) {
        script.texts(all, depth + 1, into);
    }
}

fn texts<N: AsRef<str>>(scripts: &Scripts, names: impl IntoIterator<Item = N>) -> Vec<String> {
    let mut found = Vec::new();
    for name in names {
        named(scripts, name.as_ref(), 0, &mut found);
    }
    found
}

/// Returns the map `of` in a file; JSON is YAML.
fn scripts(text: &str, of: &str) -> Scripts {
    #[derive(Default, Deserialize)]
    #[serde(default)]
    struct Manifest {
        scripts: Scripts,
        tasks: Scripts,
    }
    let manifest = serde_saphyr::from_str::<Manifest>(text).unwrap_or_default();
    if of == "tasks" {
        manifest.tasks
    } else {
        manifest.scripts
    }
}

/// Returns all scripts and tasks.
pub(super) fn all(text: &str) -> Vec<String> {
    let scripts = scripts(text, "scripts");
    let mut found = texts(&scripts, scripts.keys());
    let tasks = self::scripts(text, "tasks");
    found.extend(texts(&tasks, tasks.keys()));
    found
}

/// Returns what `npm OPERAND…` runs.
pub(super) fn package(text: &str, operands: &[&str]) -> Vec<String> {
    let scripts = scripts(text, "scripts");
    let around = |name: &str| [format!("pre{name}"), name.to_owned(), format!("post{name}")];
    let operands: &[&str] = if operands.is_empty() {
        &["install"]
    } else {
        operands
    };
    let mut names = Vec::new();
    for operand in operands {
        match *operand {
            "i" | "ci" | "install" | "add" => {
                names.extend(around("install"));
                names.extend(around("prepare"));
            }
            "publish" | "pack" => {
                names.push("prepublishOnly".to_owned());
                names.extend(around("pack"));
                names.extend(around("prepare"));
                names.extend(around("publish"));
            }
            "t" | "tst" => names.extend(around("test")),
            name => names.extend(around(name)),
        }
    }
    texts(&scripts, names)
}

/// Returns what `composer OPERAND…` runs.
pub(super) fn composer(text: &str, operands: &[&str]) -> Vec<String> {
    let scripts = scripts(text, "scripts");
    let names = operands.iter().flat_map(|operand| match *operand {
        "install" | "i" => vec!["pre-install-cmd", "post-install-cmd", "post-autoload-dump"],
        "update" | "upgrade" | "require" | "u" => {
            vec!["pre-update-cmd", "post-update-cmd", "post-autoload-dump"]
        }
        "create-project" => vec!["post-root-package-install", "post-create-project-cmd"],
        "dump-autoload" | "dumpautoload" => vec!["pre-autoload-dump", "post-autoload-dump"],
        name => vec![name],
    });
    texts(&scripts, names)
}

/// Returns what `deno task OPERAND` runs.
pub(super) fn deno(text: &str, operands: &[&str]) -> Vec<String> {
    match operands {
        ["task", names @ ..] => texts(&scripts(text, "tasks"), names),
        _ => Vec::new(),
    }
}

/// Returns what `task OPERAND…` runs.
pub(super) fn taskfile(text: &str, operands: &[&str]) -> Vec<String> {
    let default = if operands.is_empty() {
        &["default"][..]
    } else {
        operands
    };
    texts(&scripts(text, "tasks"), default)
}
