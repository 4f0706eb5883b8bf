//! The rules of `packs/agents.yaml`, made by `cargo xtask generate`.

use sandbox_types::Effect;

use crate::{risk::Held, rules::{Rule, When}};

pub(super) static RULES: &[Rule] = &[
    Rule {
        id: "agent.unguarded",
        score: 35,
        effects: &[Effect::DisablesDefence],
        held: Held::Nothing,
        message: "starts an agent that asks nobody before it acts",
        suggestion: "leave its questions on, or give it a sandbox of its own",
        when: When::Looks(&[
            "claude|claude-code|happy|ccr --dangerously-skip-permissions|--allow-dangerously-skip-permissions",
            "claude|claude-code|happy ~bypassPermissions|Bash(*)|Bash(*:*)",
            "claude|claude-code .. --allowedTools|--allowed-tools .. Bash|*",
            "codex --yolo|--dangerously-bypass-approvals-and-sandbox|--dangerously-bypass-hook-trust",
            "codex ~danger-full-access|approval_policy=never|approval_policy=\"never\"|sandbox_mode=danger",
            "codex -a|--ask-for-approval .. never .. danger-full-access",
            "gemini|qwen|iflow -y|--yolo",
            "gemini|qwen|iflow ~approval-mode=yolo",
            "gemini|qwen|iflow --approval-mode .. yolo",
            "cursor-agent|agent -f|--force|--yolo",
            "amp ~--dangerously-allow-all",
            "copilot ~--allow-all|--yolo|--allow-tool=shell",
            "copilot .. --allow-tool .. shell",
            "aider --yes-always",
            "aider --auto-accept-architect --yes",
            "droid|auggie|kilo|kilocode|cline|roo|opencode|goose|plandex|q|kiro-cli|kiro|interpreter|openhands|forge|junie|cody|devin|kimi|rovodev|acli|vibe|pi|letta|gptme|mentat|llm ~--dangerously|--yolo|--skip-permissions|--trust-all-tools|--auto-approve|--no-confirm|--allow-all-tools|--allow-all-permissions|--yes-always|--auto_run|--auto-run|--no-approval|--always-approve",
            "droid exec ~--auto=high|--skip-permissions-unsafe",
            "droid exec --auto .. high",
            "interpreter -y",
            "gptme -y|--no-confirm",
            "npx|bunx|pnpm|pnpx|yarn|uvx|pipx|npm|bun|docker|podman ~--dangerously-skip-permissions|--dangerously-bypass-approvals-and-sandbox|--dangerously-allow-all|--allow-all-tools|--trust-all-tools|--yolo",
            "claude|codex|gemini|qwen|amp|opencode|cursor|copilot config|settings|permissions set|add|allow .. ~bypass|Bash|never|danger|yolo|autoAccept|skip|trust|shell",
            "codex|claude .. ~sandbox.enabled=false|dangerouslyDisableSandbox|sandbox_workspace_write.network_access=true|--no-sandbox",
        ]),
        matches: &[],
        spares: &[],
    },
    Rule {
        id: "agent.tools",
        score: 35,
        effects: &[Effect::Persists, Effect::ExecutesUnknown],
        held: Held::Nothing,
        message: "gives an agent a tool, a plug-in or a hook that it runs from now on",
        suggestion: "let the person who runs the agent add it",
        when: When::Looks(&[
            "claude|codex|gemini|qwen|copilot|amp|opencode|cursor|cursor-agent|droid|auggie|goose|q|kiro-cli|crush|vibe|iflow mcp add|add-json|add-from-claude-desktop|enable|install|import",
            "claude|gemini|qwen|codex|copilot|cursor plugin|plugins|extension|extensions install|add|link|enable|i",
            "claude plugin|plugins marketplace add",
            "claude --mcp-config ~http|/tmp|/dev/shm|{",
            "claude --settings ~{|/tmp|/dev/shm",
            "claude --plugin-dir",
            "code|code-insiders|cursor|windsurf|codium|vscodium|positron|trae|kiro ~--add-mcp",
            "code|code-insiders|cursor|windsurf|codium|vscodium|positron|trae|kiro --install-extension ~.vsix|://",
            "docker mcp server|client enable|connect",
        ]),
        matches: &[],
        spares: &[],
    },
];
