//! Every form of a secret, in pieces of every size, and in reports.

use sandbox_types::{CapturedOutput, OperationReport};

use super::*;

const SECRET: &[u8] = b"s3cr3t/+ v\xc3\xa4lue&=";

fn redactor(secrets: &[&[u8]]) -> Arc<Redactor> {
    Arc::new(Redactor::of(secrets).unwrap())
}

/// Returns what comes out when `text` comes in pieces of `size` bytes.
fn streamed(redactor: &Arc<Redactor>, text: &[u8], size: usize) -> String {
    let mut stream = RedactedStream::new(redactor);
    let mut out = Vec::new();
    for piece in text.chunks(size) {
        out.extend(stream.push(piece));
    }
    out.extend(stream.finish());
    String::from_utf8_lossy(&out).into_owned()
}

fn check(secrets: &[&[u8]], text: &[u8], expected: &str) {
    let redactor = redactor(secrets);
    for size in [1, 2, 3, 5, 7, 16, 1000] {
        assert_eq!(
            streamed(&redactor, text, size),
            expected,
            "in pieces of {size}"
        );
    }
}

#[test]
fn every_form_is_found_across_every_border() {
    let text = str::from_utf8(SECRET).unwrap();
    let forms = [
        text.to_owned(),
        BASE64_STANDARD.encode(SECRET),
        BASE64_URL_SAFE_NO_PAD.encode(SECRET),
        hex(SECRET),
        hex(SECRET).to_uppercase(),
        "s3cr3t%2F%2B%20v%C3%A4lue%26%3D".to_owned(),
        "s3cr3t%2f%2b+v%c3%a4lue%26%3d".to_owned(),
    ];
    for form in forms {
        check(
            &[SECRET],
            format!("a {form} b").as_bytes(),
            "a [redacted] b",
        );
    }
}

#[test]
fn a_secret_within_base64_is_found_at_every_place() {
    for before in ["", "u", "us", "usr", "user:"] {
        let encoded = BASE64_STANDARD.encode([before.as_bytes(), SECRET, b" and more"].concat());
        let redacted = streamed(&redactor(&[SECRET]), encoded.as_bytes(), 3);
        assert!(redacted.contains(REDACTED), "{before}: {redacted}");
        // At most two characters at each end are decided by its neighbours too.
        let left = redacted.replace(REDACTED, "");
        let others = BASE64_STANDARD.encode([before.as_bytes(), b" and more"].concat());
        assert!(left.len() <= others.len() + 4, "{before}: {redacted}");
    }
}

#[test]
fn long_base64_is_found_in_lines() {
    let secret: Vec<u8> = (0..200_u8).map(|it| it.wrapping_mul(37)).collect();
    let encoded = BASE64_STANDARD.encode(&secret);
    for width in BASE64_LINES {
        let lines: Vec<_> = encoded
            .as_bytes()
            .chunks(width)
            .map(|it| str::from_utf8(it).unwrap())
            .collect();
        let redacted = streamed(&redactor(&[&secret]), lines.join("\n").as_bytes(), 10);
        assert!(
            lines.iter().all(|line| !redacted.contains(line)),
            "{redacted}"
        );
    }
}

#[test]
fn neighbours_and_overlaps_leave_nothing() {
    check(&[b"abcd", b"cdef"], b"xabcdefx", "x[redacted]x");
    check(&[b"abcd", b"abcdefgh"], b"xabcdefghx", "x[redacted]x");
    check(&[b"abcd"], b"abcdabcd", "[redacted]");
    check(&[b"aaaa"], b"xaaaaaaaaay", "x[redacted]y");
    check(&[b"abcd"], b"abcabcdabc", "abc[redacted]abc");
    check(&[b"abcd"], b"abc", "abc");
}

#[test]
fn the_line_feed_of_an_echo_is_no_part_of_a_secret() {
    check(&[b"token-1\n"], b"token-1", "[redacted]");
    check(
        &[b"first line\nsecond line\n"],
        b"> first line\n> second line\n",
        "> [redacted]\n> [redacted]\n",
    );
}

#[test]
fn what_cannot_become_a_secret_is_not_held_back() {
    let mut stream = RedactedStream::new(&redactor(&[b"hunter22"]));
    assert_eq!(stream.push(b"Password: "), b"Password: ");
    assert_eq!(stream.push(b"hun"), b"");
    assert_eq!(stream.push(b"gry"), b"hungry");
}

#[test]
fn a_report_says_no_secret_and_stays_a_report() {
    let report: OperationReport = serde_json::from_str(include_str!("report.json")).unwrap();
    let mut said = report.clone();
    said.operation.argv = vec!["curl".to_owned(), "hunter22".to_owned()];
    said.error = vec!["cannot use hunter22".to_owned()];
    said.stdout = CapturedOutput::default();
    let redacted = redactor(&[b"hunter22"]).redacted(said.clone());
    assert_eq!(redacted.operation.argv, ["curl", REDACTED]);
    assert_eq!(redacted.error, ["cannot use [redacted]"]);
    // A word that a report must have tells nothing, and the rest is redacted all the same.
    let redacted = redactor(&[b"completed", b"hunter22"]).redacted(said);
    assert_eq!(redacted.outcome, report.outcome);
    assert_eq!(redacted.operation.argv, ["curl", REDACTED]);
}
