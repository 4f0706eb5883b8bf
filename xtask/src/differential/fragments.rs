//! Shell texts out of fragments: one command, its words disguised, inside of constructs that may or may not run it.

/// How deep constructs are put into each other.
const DEPTH_MAX: u64 = 3;

/// Writes texts; the same seed gives the same texts.
#[derive(Debug)]
pub(super) struct Writer {
    state: u64,
}

/// A name of the program, and what stands before the command for it.
static NAMES: &[(&str, &str)] = &[
    ("", "rm"),
    ("", "rm"),
    ("", "r\\m"),
    ("", "r''m"),
    ("", "\"rm\""),
    ("", "$(echo rm)"),
    ("", "`echo rm`"),
    ("", "${unset-rm}"),
    ("", "${unset:-rm}"),
    ("", "${unset:=rm}"),
    ("", "${unset+echo} rm"),
    ("", "${unset+echo}${unset-rm}"),
    ("", "${unset+x}rm"),
    ("given=; ", "${given-echo} rm"),
    ("given=; ", "${given+rm}"),
    ("given=a; ", "${given+rm}"),
    ("given=a; ", "${given:+rm}"),
    ("c=rm; ", "$c"),
    ("c=rm; ", "\"${c}\""),
    ("c=r; d=m; ", "$c$d"),
    ("c=${unset-rm}; ", "$c"),
    ("c=${unset+echo}; ", "$c rm"),
    ("export c=rm; ", "$c"),
    ("set -- rm; ", "\"$1\""),
    ("set -- rm; ", "\"$@\""),
    ("read c <<E\nrm\nE\n", "$c"),
    ("alias r=rm\n", "rm"),
    ("", "command rm"),
    ("", "env rm"),
    ("", "env A=b rm"),
    ("", "A=b rm"),
    ("", "command -- rm"),
    ("", "{ :; }; rm"),
    ("unset -v x; ", "${x-rm}"),
];

/// Options and the place; `@` stands for it.
static ARGUMENTS: &[&str] = &[
    "-rf @",
    "-rf @",
    "-rf '@'",
    "-rf \"@\"",
    "-rf ${unset-@}",
    "-rf ${unset:-@}",
    "-rf $(echo @)",
    "${unset--rf} @",
    "-rf @ 2>&1",
    "-rf @ > /dev/null",
    "-r''f @",
    "\"-rf\" @",
    "-rf ${unset+build} @",
    "-rf ${unset+build}${unset-@}",
];

/// What a command is put into: `@` stands for it, `'@'` for it in single quotes.
static AROUND: &[&str] = &[
    "@",
    "@",
    "true; @",
    "true && @",
    "false && @",
    "false || @",
    "true || @",
    "! @",
    "( @ )",
    "{ @; }",
    "echo @",
    ": @",
    "if true; then @; fi",
    "if false; then @; fi",
    "if false; then :; else @; fi",
    "for i in 1; do @; done",
    "for i in; do @; done",
    "while :; do @; break; done",
    "while false; do @; done",
    "until @; do break; done",
    "case x in x) @;; esac",
    "case x in y) @;; esac",
    "f() { @; }; f",
    "f() { @; }; g() { f; }; g",
    "f() { @; }",
    "x=$(@)",
    ": \"$(@)\"",
    ": `@`",
    "eval '@'",
    "eval \"eval '@'\"",
    "sh -c '@'",
    "env sh -c '@'",
    "sh -c 'eval \"$1\"' _ '@'",
    "sh -c '$0' '@'",
    "trap '@' EXIT",
    "@ & wait",
    "exec @",
    "( exec @ )",
    "echo '@' | sh",
    "printf '%s\\n' '@' | sh",
    "printf '%s\\n' '@' | cat | sh",
    "echo '@' | tee /dev/null | sh",
    "printf '%s\\n' : '@' | while read -r l; do eval \"$l\"; done",
    "printf '%s\\n' '@' | while read -r l; do sh -c \"$l\"; done",
    "printf '%s\\n' '@' | while IFS= read -r l; do eval \"$l\"; done",
    "printf '%s\\n' '@' | { read -r l; eval \"$l\"; }",
    "printf '%s\\n' '@' | ( read -r a b; eval \"$a $b\" )",
    "printf '%s\\n' '@' | { read -r l; sh; }",
    "printf '%s\\n' : '@' | { read -r l; sh; }",
    "while read -r l; do eval \"$l\"; done <<'E'\n:\n@\nE\n",
    "sh <<'E'\n@\nE\n",
    "cat <<'E' | sh\n@\nE\n",
    "cat <<'E' > s\n@\nE\nsh ./s",
    "echo '@' > s; . ./s",
    "echo '@' > s && sh s",
    "printf '%s\\n' '@' > s; while read -r l; do eval \"$l\"; done < s",
    "l='@'; eval \"$l\"",
    "l='@'; sh -c \"$l\"",
    "l='@'; echo x | read -r l; eval \"$l\"",
    "l='@'; while read -r l; do :; done </dev/null; eval \"${l:-true}\"",
    "l='@'; IFS=/; eval \"$l\"",
    "set -- '@'; eval \"$1\"",
    "f() { eval \"$1\"; }; f '@'",
    "${unset+echo} @",
    "${unset-} @",
    "${unset+:} eval '@'",
    "${unset-eval} '@'",
    "d=${unset+echo}; $d @",
    "( IFS=,; : ); @",
    "echo '@' | xargs -I% sh -c %",
    "timeout 1 sh -c '@'",
    "echo '# @'",
    "# @",
    "cat <<'E'\n@\nE\n",
];

impl Writer {
    pub(super) const fn new(seed: u64) -> Self {
        // Zero would stay zero.
        Self {
            state: seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1,
        }
    }

    /// Returns a text about `target`.
    pub(super) fn text(&mut self, target: &str) -> String {
        let (before, name) = self.one_of(NAMES);
        let arguments = self.one_of(ARGUMENTS).replace('@', target);
        let mut command = format!("{before}{name} {arguments}");
        // A list of commands stands for one only in braces.
        if !before.is_empty() || command.contains("; ") {
            command = format!("{{ {command}\n}}");
        }
        for _ in 0..self.below(DEPTH_MAX + 1) {
            command = put_into(self.one_of(AROUND), &command);
        }
        command
    }

    fn one_of<T: Copy>(&mut self, list: &[T]) -> T {
        let index = self.below(u64::try_from(list.len()).unwrap_or(1));
        list[usize::try_from(index).unwrap_or(0)]
    }

    fn below(&mut self, end: u64) -> u64 {
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        self.state % end.max(1)
    }
}

/// Puts a command into a construct, quoted where the construct quotes it.
fn put_into(around: &str, command: &str) -> String {
    let quoted = command.replace('\'', "'\\''");
    match around.split_once("'@'") {
        // In double quotes around the single ones, what is special there is kept from the outer shell.
        Some((before, after)) if before.matches('"').count() % 2 == 1 => {
            let mut kept = String::new();
            for c in quoted.chars() {
                if matches!(c, '\\' | '"' | '$' | '`') {
                    kept.push('\\');
                }
                kept.push(c);
            }
            format!("{before}'{kept}'{after}")
        }
        Some((before, after)) => format!("{before}'{quoted}'{after}"),
        None => around.replace('@', command),
    }
}

#[cfg(test)]
mod tests {
    use super::{Writer, put_into};

    #[test]
    fn texts_are_the_same_for_a_seed_and_different_for_another() {
        let texts = |seed| {
            let mut writer = Writer::new(seed);
            (0..50).map(|_| writer.text("/x")).collect::<Vec<_>>()
        };
        assert_eq!(texts(1), texts(1));
        assert_ne!(texts(1), texts(2));
        assert!(texts(0).iter().any(|text| text.contains("/x")));
    }

    #[test]
    fn a_command_is_quoted_where_a_construct_quotes_it() {
        assert_eq!(put_into("sh -c '@'", "r''m"), "sh -c 'r'\\'''\\''m'");
        assert_eq!(
            put_into("eval \"eval '@'\"", "$c x"),
            "eval \"eval '\\$c x'\""
        );
        assert_eq!(put_into("( @ )", "rm x"), "( rm x )");
    }
}
