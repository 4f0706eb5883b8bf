//! The files, by class. Each is read, without anybody naming it, by a program that runs what it says or does as it
//! says: on `cd`, by a prompt or a login, when an editor or an agent starts in the directory, by a git command, or by a
//! tool of which only the name was said.
//!
//! A pattern is the end of a path, component by component. A `*` in a name stands for anything; as a whole name it is
//! one name, and `**` is one name or more. The first class that a path meets is its class.

/// The class of git's own configuration: only some of its settings matter.
pub(in crate::gate) const GIT_CONFIG: &str = "git configuration that runs programs";

/// The class of what stands where git keeps a directory, or says where one is.
pub(in crate::gate) const GIT_ELSEWHERE: &str = "it leads git to a directory elsewhere";

/// The class of hooks, also those of a repository that is no `.git`.
pub(in crate::gate) const GIT_HOOK: &str = "a git hook";

/// The class of our own configuration.
pub(in crate::gate) const SANDBOX: &str = "configuration of the sandbox";

const AGENT: &str = "agent configuration";
const AGENT_TEXT: &str = "agent instructions";
const BUILD: &str = "build configuration that runs programs";
const DEBUGGER: &str = "commands of a debugger";
const EDITOR: &str = "editor configuration";
const EDITOR_TASKS: &str = "editor tasks";
const LOGIN: &str = "a program that a login starts";
const PYTHON: &str = "a program that Python loads by itself";
const SHELL: &str = "a shell start file";
const TOOL_VERSIONS: &str = "which tools run in the directory";
const USER_PROGRAM: &str = "a program of the user";

#[rustfmt::skip]
pub(super) const PROTECTED: &[(&str, &[&str])] = &[
    (GIT_ELSEWHERE, &[
        ".git", ".git/hooks", "commondir", "gitdir", ".git/remotes/*", ".git/branches/*",
    ]),
    (GIT_HOOK, &[
        ".git/hooks/*", ".git/modules/**/hooks/*", ".husky/**", ".githooks/**", ".git-hooks/**", ".huskyrc*",
        ".pre-commit-config.yaml", ".pre-commit-config.yml", "prek.toml",
        "lefthook.*", ".lefthook.*", "lefthook-local.*", ".lefthook-local.*", ".lefthook/**", ".lefthook-local/**",
        ".config/lefthook.*", ".overcommit.yml", "captainhook.json", "grumphp.yml",
        ".lintstagedrc*", "lint-staged.config.*", ".commitlintrc*", "commitlint.config.*",
    ]),
    (GIT_CONFIG, &[
        ".git/config", ".git/config.worktree", ".git/modules/**/config", ".git/modules/**/config.worktree",
        ".git/worktrees/*/config*",
    ]),
    ("git attributes, which may name filters", &[
        ".gitattributes", ".git/info/attributes", ".git/modules/**/info/attributes",
    ]),
    ("git submodules", &[".gitmodules"]),
    ("version control configuration that runs programs", &[
        ".hg/hgrc", ".hg/hgrc-not-shared", ".hg/sharedpath", ".hgrc", ".jj/repo", ".jj/repo/config.toml",
        ".jj/config.toml", ".jj/workspace-config.toml", ".jjconfig.toml", ".config/jj/**",
    ]),
    ("git configuration of the user", &[".gitconfig", ".config/git/*"]),
    ("shell commands of direnv", &[".envrc", ".envrc.*", ".direnvrc", ".config/direnv/**"]),
    (TOOL_VERSIONS, &[
        "mise.toml", ".mise.toml", "mise.*.toml", ".mise.*.toml", ".miserc.toml", ".mise/**", "mise/config*.toml",
        ".config/mise/**", ".config/mise.toml", ".config/mise.*.toml", ".rtx.toml",
        ".tool-versions", ".asdfrc", ".prototools", ".sdkmanrc", ".rvmrc", ".rbenv-vars",
        "rust-toolchain.toml", "rust-toolchain",
        "flake.nix", "flake.lock", "shell.nix", "devenv.nix", "devenv.yaml", "devenv.lock", "devenv.local.nix",
        "devbox.json", ".flox/**", ".shadowenv.d/**", ".autoenv", ".autoenv.zsh", ".autoenv_leave.zsh", ".autoenv.leave",
        ".mvn/**", "gradle/wrapper/*", ".bazelversion", ".bazeliskrc", "tools/bazel",
        ".yarn/releases/*", ".yarn/plugins/**", ".yarn/sdks/**",
    ]),
    (SHELL, &[
        ".bashrc", ".bash_profile", ".bash_login", ".bash_logout", ".bash_aliases", ".bash_completion", ".bashrc.d/**",
        ".profile", ".inputrc", ".config/readline/*",
        ".zshrc", ".zshenv", ".zprofile", ".zlogin", ".zlogout", ".config/zsh/**", ".oh-my-zsh/custom/**",
        ".config/fish/**", ".kshrc", ".mkshrc", ".shrc", ".cshrc", ".tcshrc", ".login", ".logout",
        ".config/nushell/**", ".config/elvish/**", ".elvish/rc.elv", ".xonshrc", ".config/xonsh/**",
        ".config/powershell/**", ".config/starship.toml", ".cargo/env", ".selected_editor", ".lessfilter",
        ".tmux.conf", ".config/tmux/**", ".screenrc", ".config/kitty/**", ".config/alacritty/**", ".wezterm.lua",
        ".config/wezterm/**", ".config/ghostty/**",
        // Shells of languages and data bases, which read them where they stand or at home.
        ".irbrc", ".pryrc", ".iex.exs", ".ghci", ".ocamlinit", ".erlang", ".psqlrc", ".sqliterc", ".my.cnf",
        ".Rprofile", ".Renviron", ".RData", "renv/activate.R", ".julia/config/*",
    ]),
    ("who may log in, and what that runs", &[".ssh/*", ".ssh/config.d/*", ".forward", ".procmailrc"]),
    (LOGIN, &[
        ".config/autostart/*", ".config/autostart-scripts/*", ".config/plasma-workspace/**", ".config/systemd/user/**",
        ".local/share/systemd/user/**", ".local/share/dbus-1/services/*", ".config/environment.d/*",
        ".pam_environment", ".xprofile", ".xinitrc", ".xsession", ".xsessionrc", ".vnc/xstartup",
        ".config/i3/**", ".config/sway/**", ".config/hypr/**",
    ]),
    (USER_PROGRAM, &[".local/bin/*", ".cargo/bin/*", ".local/share/applications/*", ".vscode-server/**"]),
    (SANDBOX, &[".config/sandbox/**"]),
    (EDITOR_TASKS, &[
        ".vscode/tasks.json", ".vscode/launch.json", ".zed/tasks.json", ".zed/debug.json", ".run/*", ".theia/tasks.json",
        ".vimspector.json", ".codesandbox/tasks.json",
    ]),
    (AGENT, &[
        ".claude/**", ".claude.json", ".claude-plugin/**", ".mcp.json", "mcp.json", ".cursor/**", ".codex/**",
        ".gemini/**", ".qwen/**", ".vscode/mcp.json", ".roo/**", ".roomodes", ".kilocode/**", ".kilocodemodes",
        ".kiro/**", ".opencode/**", "opencode.json", "opencode.jsonc", ".crush.json", "crush.json", ".crush/**",
        ".aider.conf.yml", ".continue/**", ".continuerc.json", ".amazonq/**", ".augment/**", ".goose/**", ".junie/**",
        ".trae/**", ".factory/**", ".openhands/**", ".amp/**", ".agents/**", ".agent/**", ".tabnine/**", ".copilot/**",
        ".github/agents/**", ".github/hooks/**", ".github/skills/**", ".github/chatmodes/**", ".github/prompts/**",
        ".cline/**", ".warp/**", ".vibe/**", ".grok/**",
    ]),
    (AGENT_TEXT, &[
        "CLAUDE.md", "CLAUDE.local.md", "AGENTS.md", "AGENTS.override.md", "AGENT.md", "GEMINI.md", "QWEN.md",
        "CRUSH.md", "WARP.md", ".github/copilot-instructions.md", ".github/instructions/**", ".windsurfrules",
        ".windsurf/**", ".clinerules", ".clinerules/**", ".roorules*", ".cursorrules", ".continuerules",
        ".kilocoderules*", ".augment-guidelines", ".goosehints", ".rules",
    ]),
    (EDITOR, &[
        ".vscode/**", "*.code-workspace", ".zed/**", ".devcontainer/**", ".devcontainer.json", ".idea/**", ".fleet/**",
        ".vs/**", ".project", ".externalToolBuilders/**", ".factorypath", ".bsp/*", ".theia/**", ".lapce/**",
        ".vimrc", ".gvimrc", ".exrc", ".ideavimrc", ".vim/**", ".nvim/**", ".nvimrc", ".nvim.lua", ".lvimrc",
        ".config/nvim/**", ".config/vim/**", ".neoconf.json", ".nlsp-settings/**",
        ".dir-locals.el", ".dir-locals-2.el", ".emacs", ".emacs.d/**", ".config/emacs/**", ".doom.d/**",
        ".config/doom/**", ".spacemacs", ".helix/**", ".config/helix/**", ".config/kak/**", ".nanorc",
        ".kateproject", "*.sublime-project", ".gitpod.yml", ".gitpod.Dockerfile", "devfile.yaml", ".devfile.yaml",
        ".replit", "replit.nix", ".idx/**",
        // Language servers, linters and formatters that editors start, whose configuration is or names a program.
        ".ycm_extra_conf.py", ".ropeproject/config.py", "rust-analyzer.toml", ".rust-analyzer.toml", "hie.yaml",
        ".merlin", ".lsp/*", ".luarc.json", ".luarc.jsonc", ".luacheckrc", ".solargraph.yml", ".ruby-lsp/**",
        ".rubocop.yml", ".formatter.exs", ".sourcekit-lsp/**", ".pylintrc", "pylintrc", ".flake8",
        ".eslintrc", ".eslintrc.*", "eslint.config.*", ".prettierrc", ".prettierrc.*", "prettier.config.*",
        ".stylelintrc", ".stylelintrc.*", "stylelint.config.*",
    ]),
    (DEBUGGER, &[
        ".gdbinit", ".gdbearlyinit", "*-gdb.gdb", "*-gdb.py", ".config/gdb/*", ".lldbinit", ".lldbinit-*", ".cgdb/*",
        ".pdbrc", ".pdbrc.py", ".perldb", ".byebugrc", ".rdbgrc", ".radare2rc", ".config/radare2/**", ".valgrindrc",
    ]),
    ("a CI workflow", &[
        ".github/workflows/*", ".github/actions/**", ".gitea/workflows/*", ".forgejo/workflows/*", ".gitlab-ci.yml",
        ".gitlab/ci/**", ".circleci/**", "Jenkinsfile", ".travis.yml", "azure-pipelines.yml", ".azure-pipelines/**",
        "bitbucket-pipelines.yml", "appveyor.yml", ".appveyor.yml", ".drone.yml", ".woodpecker.y*ml", ".woodpecker/**",
        ".buildkite/**", ".cirrus.yml", ".cirrus.star", ".semaphore/**", ".teamcity/**", ".tekton/**", "cloudbuild.yaml",
        "buildspec.yml", ".builds/*", ".build.yml", ".readthedocs.y*ml",
    ]),
    (BUILD, &[
        // `.cargo/config` is the old name; cargo still reads it.
        ".cargo/config.toml", ".cargo/config", ".config/go/env", ".npmrc", ".pnpmfile.cjs", ".pnpmfile.mjs",
        "pnpmfile.js", "pnpm-workspace.yaml", ".yarnrc", ".yarnrc.yml", ".pnp.cjs", ".pnp.loader.mjs", "bunfig.toml",
        ".bazelrc", "user.bazelrc", ".buckconfig", ".buckconfig.local", ".bundle/config", ".bundle/plugin/**", ".gemrc",
        ".sbtopts", ".jvmopts", "ansible.cfg", ".docker/config.json", ".kube/config", ".aws/config", ".gnupg/*.conf",
    ]),
    ("a program that tests load by themselves", &["conftest.py"]),
    (PYTHON, &[
        "sitecustomize.py", "usercustomize.py", "site-packages/*.pth", "dist-packages/*.pth", ".ipython/**",
        ".jupyter/**", "jupyter_*config.py", "jupyter_*config.json",
    ]),
];
