//! Hiding what is run.

use sandbox_types::Effect::{DestroysData, ExecutesUnknown};

use super::{Rule, When};
use crate::{
    flow,
    risk::{HIGH, Held, LOW, MEDIUM},
};

pub(super) static RULES: &[Rule] = &[
    Rule {
        id: "obfuscation.decode-to-shell",
        score: HIGH,
        effects: &[ExecutesUnknown],
        held: Held::Nothing,
        when: When::Holds(flow::decoded_to_interpreter),
        message: "runs what it decodes, so that nobody can read it",
        suggestion: "write the commands in the open",
        matches: &[
            "echo cm0= | base64 -d | sh",
            "eval \"$(echo cm0= | base64 --decode)\"",
            "xxd -r -p x | bash",
            "bash -c \"$(base64 -d <<< cm0=)\"",
            "echo 'fr- mr' | rev | sh",
            "python3 -c 'exec(__import__(\"base64\").b64decode(\"cHJpbnQ=\"))'",
        ],
        spares: &["base64 -d x > y", "echo hi | rev", "cat script.sh | sh -n"],
    },
    Rule {
        id: "obfuscation.command-word",
        score: MEDIUM,
        effects: &[ExecutesUnknown],
        held: Held::Nothing,
        when: When::Holds(flow::disguised_command),
        message: "hides the name of the program that it runs",
        suggestion: "write the program's name",
        matches: &[
            "r\\m x",
            "$'\\x72m' x",
            "r''m x",
            "/???/??t /etc/hosts",
            "{rm,-rf,x}",
            "$(echo rm) x",
            "who$@ami",
            "a=r; b=m; $a$b x",
            "cat${IFS}x",
            "r$(x)m -rf build",
            "r`x`m y",
        ],
        spares: &[
            "\"$HOME/bin/tool\" x",
            "$CC -o x x.c",
            "\\ls",
            "\"my prog\" x",
            "ls *.c",
            "$(which python3) x.py",
            "./run.sh",
            "python$VERSION -m x",
            "lib$(arch)/x",
        ],
    },
    Rule {
        id: "obfuscation.generated",
        score: MEDIUM,
        effects: &[ExecutesUnknown],
        held: Held::Nothing,
        when: When::Holds(flow::output_to_shell),
        message: "runs the output of another command as shell text",
        suggestion: "write it to a file, read it, then run it",
        matches: &[
            "cat x | tr a b | sh",
            "xclip -o | bash",
            "sh -c \"$(cat /tmp/x)\"",
            "xargs -a list -I{} sh -c '{}'",
            "eval \"$(cat x)\"",
        ],
        spares: &[
            "eval \"$(ssh-agent -s)\"",
            "eval \"$(brew shellenv)\"",
            "echo ls | sh",
            "eval \"$(direnv hook bash)\"",
            "sort x | uniq",
            "find . -exec sh -c 'echo \"$0\"' {} \\;",
        ],
    },
    Rule {
        id: "obfuscation.argument",
        score: MEDIUM,
        effects: &[ExecutesUnknown],
        held: Held::Nothing,
        when: When::Holds(flow::disguised_argument),
        message: "hides what it works on by an encoding",
        suggestion: "write the name in the open",
        matches: &[
            "cat `echo -e \"\\x2f\\x65\\x74\\x63\"`",
            "cat $(xxd -r -p <<< 2f657463)",
        ],
        spares: &[
            "cat $(echo a.txt)",
            "echo $(printf '\\x41')",
            "X=$(echo $Y | base64 -d)",
        ],
    },
    Rule {
        id: "obfuscation.unknown-command",
        score: LOW,
        effects: &[ExecutesUnknown],
        held: Held::Nothing,
        when: When::Holds(|_, command| {
            let first = command.words.first()?;
            let partly = first.text.contains(['$', '`']);
            (partly && first.known == crate::shell::Known::Unknown).then_some(first.span)
        }),
        message: "runs a program that the text does not name",
        suggestion: "write the program's name",
        matches: &["$TOOL x", "\"$@\"", "gcc-$V x.c", "r$(x)m y"],
        spares: &["ls", "X=ls; $X"],
    },
    Rule {
        id: "obfuscation.unknown-deletion",
        score: HIGH,
        effects: &[ExecutesUnknown, DestroysData],
        held: Held::View,
        when: When::Holds(flow::unknown_on_the_system),
        message: "gives a program that the text does not name what `rm -rf` of a system is given",
        suggestion: "write the program's name",
        matches: &["$X -rf /", "\"$(get)\" -r -f ~", "r$(x)m -rf /"],
        spares: &["$X -rf build", "$TOOL -r /", "X=ls; $X -rf /"],
    },
];
