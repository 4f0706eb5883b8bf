//! The rules of `packs/packages.yaml`, made by `cargo xtask generate`.

use sandbox_types::Effect;

use crate::{risk::Held, rules::{Rule, When}};

pub(super) static RULES: &[Rule] = &[
    Rule {
        id: "package.remove-system",
        score: 35,
        effects: &[Effect::Availability, Effect::DestroysData],
        held: Held::View,
        message: "removes what the system is made of",
        suggestion: "leave that to a person",
        when: When::Looks(&[
            "apt|apt-get|aptitude|dnf|yum|pacman|zypper|apk .. remove|purge|erase|autoremove ~sudo|linux-image|libc6|systemd|openssh|kernel|glibc|coreutils|bash",
            "dpkg -P|-r|--purge|--remove ~--force|libc|sudo",
            "rpm -e|--erase --nodeps",
            "pacman -Rdd|-Rcns|-Rdds *",
        ]),
        matches: &[],
        spares: &[],
    },
    Rule {
        id: "publish.package",
        score: 35,
        effects: &[Effect::AffectsRemote],
        held: Held::Network,
        message: "publishes or withdraws a package for everybody",
        suggestion: "use --dry-run; let the release process publish",
        when: When::Looks(&[
            "npm|pnpm|yarn|bun unpublish|deprecate",
            "npm|pnpm|yarn|bun|lerna|cargo|poetry|uv|flit|hatch|wasm-pack|vsce publish !--dry-run|-n|--help|~--dry-run",
            "cargo yank",
            "twine upload",
            "gem push|yank|owner",
            "dotnet nuget push|delete",
            "npm owner|access|token|team add|rm|remove|grant|revoke",
            "cargo owner --add|-a|--remove|-r",
            "pod trunk push|delete|deprecate",
            "mix hex.publish|hex.retire",
            "mvn deploy|release:perform",
            "docker|podman push --all-tags|-a",
            "clojars|hex publish",
            "luarocks|conan upload",
        ]),
        matches: &[],
        spares: &[],
    },
];
