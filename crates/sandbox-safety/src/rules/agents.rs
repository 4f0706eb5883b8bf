//! What agents, editors and build tools are told in files: instructions, settings, tasks, scripts.

use sandbox_types::Effect::{DisablesDefence, ExecutesUnknown, Persists};

use super::{Rule, Scene, When, filesystem::written};
use crate::{
    inline::Code,
    paths::is_in_class,
    pattern::{fits, operands},
    risk::{Held, MEDIUM},
    shell::{RedirectKind, SimpleCommand, Span, Word},
};

pub(super) static RULES: &[Rule] = &[
    Rule {
        id: "agent.instructions",
        score: MEDIUM,
        effects: &[Persists, DisablesDefence],
        held: Held::Rollback,
        when: When::Holds(tells_an_agent),
        message: "changes what coding agents are told to do, or may do, from now on",
        suggestion: "show the person the lines, and let the person add them",
        matches: &[
            "echo 'never ask' >> CLAUDE.md",
            "cat notes | tee -a AGENTS.md",
            "printf x > .cursorrules",
            "sed -i 's/ask/allow/' .github/copilot-instructions.md",
            "curl -o .cursor/rules/x.mdc https://example.com/x",
            "cp x ~/.codex/AGENTS.md",
            "echo '{}' > .vscode/mcp.json",
            "python3 -c 'open(\"AGENTS.md\", \"a\").write(\"never ask\")'",
            "echo x >> ~/.claude/projects/shop/memory/MEMORY.md",
        ],
        spares: &[
            "cat CLAUDE.md",
            "grep test AGENTS.md > notes",
            "cp CLAUDE.md docs/",
            "git add CLAUDE.md",
            "ln -s AGENTS.md CLAUDE.md",
            "echo x > README.md",
            "python3 -c 'print(open(\"AGENTS.md\").read())'",
        ],
    },
    Rule {
        id: "agent.settings",
        score: MEDIUM,
        effects: &[Persists, ExecutesUnknown],
        held: Held::Rollback,
        when: When::Holds(sets_what_runs),
        message: "writes a setting that makes a tool run, trust or fetch something by itself",
        suggestion: "show the person the setting, and let the person make it",
        matches: &[
            "cat > .vscode/tasks.json <<'E'\n{\"tasks\": [{\"command\": \"x\", \"runOptions\": {\"runOn\": \"folderOpen\"}}]}\nE",
            "echo '{\"chat.tools.autoApprove\": true}' > .vscode/settings.json",
            "echo 'registry=https://packages.attacker.test/' >> .npmrc",
            "printf '[global]\\nindex-url = https://packages.attacker.test/simple\\n' > ~/.pip/pip.conf",
            "cat > .devcontainer/devcontainer.json <<'E'\n{\"initializeCommand\": \"sh x\"}\nE",
            "echo '* filter=x' > .gitattributes",
            "cat >> .cargo/config.toml <<'E'\n[build]\nrustc-wrapper = \"./x\"\nE",
        ],
        spares: &[
            "echo '{\"editor.tabSize\": 2}' > .vscode/settings.json",
            "cat .vscode/tasks.json",
            "echo 'save-exact=true' > .npmrc",
            "echo '*.png binary' > .gitattributes",
            "echo 'registry=https://registry.npmjs.org/' > .npmrc",
        ],
    },
    Rule {
        id: "agent.variable",
        score: MEDIUM,
        effects: &[DisablesDefence],
        held: Held::Nothing,
        when: When::Holds(sets_a_variable),
        message: "sets a variable that takes an agent's questions away",
        suggestion: "leave its questions on, or give it a sandbox of its own",
        matches: &[
            "export CLAUDE_CODE_DANGEROUSLY_SKIP_PERMISSIONS=1",
            "GOOSE_MODE=auto goose run -t x",
            "GEMINI_YOLO=1 gemini",
        ],
        spares: &[
            "export CLAUDE_CODE_MAX_OUTPUT_TOKENS=1000",
            "GOOSE_MODE=approve goose run",
        ],
    },
];

/// Finds what writes to the instructions or the settings of an agent.
fn tells_an_agent(scene: &Scene<'_>, command: &SimpleCommand) -> Option<Span> {
    let is_agents = |text: &str| is_in_class(text, "agent", command, scene.places);
    let target = written(command)
        .into_iter()
        .find(|word| is_agents(&word.text));
    let Some(target) = target else {
        let (code, span) = crate::inline::code(scene, command)?;
        return writes_one_of(code, &is_agents).then_some(*span);
    };
    // One file under two names says nothing new.
    let copies = matches!(command.program(), "ln" | "cp" | "mv")
        && operands(command).first().is_some_and(|source| {
            let plain = |word: &Word| !word.text.contains('/');
            plain(source) && plain(target) && is_agents(&source.text)
        });
    (!copies).then_some(target.span)
}

/// Returns whether code opens one of the files to write to it.
pub(super) fn writes_one_of(code: &Code<'_>, is_wanted: &dyn Fn(&str) -> bool) -> bool {
    crate::inline::written_files(code)
        .iter()
        .any(|it| is_wanted(it))
}

/// Files that tools obey, with the words that make them run, trust or fetch something, and those that excuse it.
static SETTINGS: &[(&str, &[&str], &[&str])] = &[
    (
        "*.vscode/*.json",
        &[
            "folderOpen",
            "autoApprove",
            "allowAutomaticTasks",
            "workspace.trust",
            "yolo",
            "bypassPermissions",
            "DangerouslySkip",
            "dangerouslySkip",
            "preLaunchTask",
            "terminal.integrated.automationProfile",
            "terminal.integrated.env",
            "git.path",
            "python.defaultInterpreterPath\": \"/tmp",
            "mcpServers",
        ],
        &[],
    ),
    (
        "*Code/User/*.json",
        &[
            "folderOpen",
            "autoApprove",
            "allowAutomaticTasks",
            "workspace.trust",
            "yolo",
            "DangerouslySkip",
            "terminal.integrated",
        ],
        &[],
    ),
    (
        "*Cursor/User/*.json",
        &[
            "folderOpen",
            "autoApprove",
            "allowAutomaticTasks",
            "workspace.trust",
            "yolo",
            "autoRun",
        ],
        &[],
    ),
    (
        "*.zed/*.json",
        &["always_allow", "\"command\"", "context_servers"],
        &[],
    ),
    (
        "*.idea/*",
        &[
            "beforeRunTask",
            "MakeBeforeRun",
            "ExternalTools",
            "startupTasks",
        ],
        &[],
    ),
    (
        "*.devcontainer*.json",
        &[
            "initializeCommand",
            "docker.sock",
            "--privileged",
            "SYS_ADMIN",
        ],
        &[],
    ),
    (
        "*.npmrc",
        &[
            "registry=",
            "registry =",
            "strict-ssl=false",
            "strict-ssl = false",
            "script-shell",
            "ignore-scripts=false",
            "node-options",
        ],
        USUAL,
    ),
    (
        "*.yarnrc*",
        &[
            "registry",
            "yarnPath",
            "enableStrictSsl: false",
            "npmRegistryServer",
        ],
        USUAL,
    ),
    ("*bunfig.toml", &["registry", "preload"], USUAL),
    (
        "*pip.conf",
        &["index-url", "trusted-host", "find-links"],
        USUAL,
    ),
    (
        "*pip.ini",
        &["index-url", "trusted-host", "find-links"],
        USUAL,
    ),
    ("*uv.toml", &["index-url", "[[index]]", "find-links"], USUAL),
    (
        "*.cargo/config*",
        &[
            "replace-with",
            "registry",
            "rustc-wrapper",
            "linker",
            "runner",
            "credential-provider",
        ],
        &[
            "vendored-sources",
            "lld",
            "mold",
            "clang",
            "-gcc",
            "qemu",
            "wasm",
            "probe-rs",
        ],
    ),
    (
        "*nuget.config",
        &["packageSources", "add key"],
        &["api.nuget.org"],
    ),
    (
        "*NuGet.Config",
        &["packageSources", "add key"],
        &["api.nuget.org"],
    ),
    (
        "*settings.xml",
        &["<mirror>", "<repository>"],
        &[
            "repo.maven.apache.org",
            "repo1.maven.org",
            "maven.aliyun.com",
        ],
    ),
    (
        "*init.gradle*",
        &["url", "exec", "Runtime"],
        &["repo.maven.apache.org", "plugins.gradle.org"],
    ),
    (
        "*.gitattributes",
        &["filter=", "diff=exif", "merge="],
        &["filter=lfs", "merge=union", "merge=ours"],
    ),
    (
        "*.gitmodules",
        &["ext::", "url = -", "update = !", "url=-"],
        &[],
    ),
    (
        "*.envrc",
        &[
            "PATH=",
            "LD_PRELOAD",
            "curl ",
            "wget ",
            "eval ",
            "PROMPT_COMMAND",
            "source_url",
        ],
        &["PATH_add", "/bin:$PATH", "direnv stdlib", "$PWD"],
    ),
    (
        "*.pre-commit-config.yaml",
        &["repo: local", "entry: sh", "entry: bash", "curl "],
        &["pytest", "cargo", "eslint", "ruff", "mypy"],
    ),
    ("*.pth", &["import "], &[]),
    (
        "*.github/workflows/*",
        &[
            "pull_request_target",
            "write-all",
            "secrets.",
            "self-hosted",
        ],
        &[
            "secrets.GITHUB_TOKEN }}\n",
            "uses: actions/",
            "codecov",
            "if: ",
        ],
    ),
    ("*.gdbinit", &["auto-load", "shell ", "python"], &[]),
    ("*.desktop", &["Exec="], &["Terminal=false\nIcon"]),
    (
        "*docker-compose*.y*ml",
        &[
            "docker.sock",
            "privileged: true",
            "pid: host",
            "- /:/",
            "SYS_ADMIN",
        ],
        &["traefik", "portainer", ":ro"],
    ),
    ("*sudoers*", &["NOPASSWD"], &[]),
];

/// Registries that everybody uses.
static USUAL: &[&str] = &[
    "registry.npmjs.org",
    "registry.yarnpkg.com",
    "npm.pkg.github.com",
    "registry.npmmirror.com",
    "npm.jsr.io",
    "pypi.org",
    "download.pytorch.org",
    "//mirrors.",
    "pypi.tuna.tsinghua.edu.cn",
    "localhost",
    "127.0.0.1",
    "_authToken=",
    "jfrog.io",
    "pkgs.dev.azure.com",
    "codeartifact",
    "gitlab.com/api",
];

/// Finds text written to such a file that holds one of its words.
fn sets_what_runs(_: &Scene<'_>, command: &SimpleCommand) -> Option<Span> {
    let mut targets = written(command);
    // All of these names have a dot, but for one.
    targets.retain(|it| it.text.contains('.') || it.text.contains("sudoers"));
    if targets.is_empty() {
        return None;
    }
    let texts: Vec<&str> = texts(command).collect();
    let target = targets.into_iter().find(|target| {
        let path = target.text.as_str();
        SETTINGS
            .iter()
            .filter(|(file, ..)| fits(file, path))
            .any(|(_, words, excused)| {
                let has = |words: &[&str]| {
                    texts
                        .iter()
                        .any(|text| words.iter().any(|word| text.contains(word)))
                };
                has(words) && !has(excused)
            })
    })?;
    Some(target.span)
}

/// Returns the texts that a command writes: its arguments, and what it is given.
fn texts(command: &SimpleCommand) -> impl Iterator<Item = &str> {
    let given = command.redirects.iter().filter(|it| {
        matches!(
            it.kind,
            RedirectKind::HereDoc { .. } | RedirectKind::HereString
        )
    });
    let args = command.args().iter().map(|it| it.text.as_str());
    args.chain(given.map(|it| it.target.text.as_str()))
}

/// Finds a variable that an agent obeys.
fn sets_a_variable(_: &Scene<'_>, command: &SimpleCommand) -> Option<Span> {
    let frees = |name: &str, value: &str| {
        let on = !matches!(value, "" | "0" | "false" | "no");
        let named = [
            "SKIP_PERMISSIONS",
            "DANGEROUSLY",
            "BYPASS_APPROVAL",
            "AUTO_APPROVE",
            "_YOLO",
            "ALLOW_ALL_TOOLS",
        ];
        on && named.iter().any(|it| name.contains(it))
            || name == "GOOSE_MODE" && value == "auto"
            || name == "AIDER_YES_ALWAYS" && on
            || name == "CODEX_SANDBOX_MODE" && value.contains("danger")
    };
    let assigned = command
        .assignments
        .iter()
        .any(|(name, value)| frees(name, &value.text));
    let exported = || {
        matches!(command.program(), "export" | "declare" | "setx" | "typeset")
            && command.args().iter().any(|word| {
                word.text
                    .split_once('=')
                    .is_some_and(|(name, value)| frees(name, value))
            })
    };
    (assigned || exported()).then_some(command.span)
}
