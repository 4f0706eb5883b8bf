//! Secrets without a form of their own: what stands beside a name that says it is one.

use std::ops::Range;

use sandbox_types::RiskLevel::{High, Low, Medium};

use super::{ContentRule, LooksIn, Match, When, keys::shown, tokens::SECRET};
use crate::content::{
    token::{Of, find, is_made_up, is_placeholder},
    window::Window,
};

pub(super) static RULES: &[ContentRule] = &[
    ContentRule {
        id: "secret.aws-secret-key",
        severity: High,
        looks_in: LooksIn::Text,
        message: "holds an AWS secret access key",
        when: When::Around(&["aws_secret_access_key", "SecretAccessKey"], |window| {
            let value = assigned(window, Quotes::Optional)?;
            let key = &window.bytes[value.clone()];
            let real =
                key.len() == 40 && key.iter().all(|it| Of::Base64.has(*it)) && !is_made_up(key);
            real.then(|| shown(&window.word, &value))
        }),
        matches: &[concat!(
            "aws_secret_access",
            "_key = +h8msMlc+T1ah9sdbEl7oX8nrEHAluvtdgDW1+In"
        )],
        spares: &[
            "aws_secret_access_key = wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
            "aws_secret_access_key = os.environ['X']",
        ],
        ..SECRET
    },
    ContentRule {
        id: "secret.assigned",
        severity: Low,
        looks_in: LooksIn::Code,
        message: "assigns what looks like a password or token",
        suggestion: "read it from the environment or from a secret store",
        when: When::Around(
            &[
                "password",
                "passwd",
                "secret",
                "api_key",
                "apikey",
                "api-key",
                "access_key",
                "auth_token",
                "access_token",
            ],
            |window| {
                if window.is_comment() {
                    return None;
                }
                let value = assigned(window, Quotes::Needed)?;
                let text = &window.bytes[value.clone()];
                let real = (12..=200).contains(&text.len()) && looks_random(text);
                real.then(|| shown(&window.word, &value))
            },
        ),
        matches: &[
            "db_password = \"q8Vx2Lm0TzR4wK7p\"",
            "\"api_key\": \"yXic6YOZq0M7qO60lI5Q\"",
            "const apiKey = 'yXic6YOZq0M7qO60lI5Q';",
        ],
        spares: &[
            "password = \"changeme-please1\"",
            "password = os.environ[\"DATABASE_PASSWORD1\"]",
            "secret: \"projects/1/secrets/name2\"",
            "passwordField = 'input-password-field2'",
            "api_key = \"\"",
        ],
    },
    ContentRule {
        id: "secret.url-password",
        severity: Medium,
        looks_in: LooksIn::Code,
        message: "holds a password in an address",
        suggestion: "read it from the environment or from a secret store",
        when: When::Around(&["://"], url_password),
        matches: &["postgres://app:q8Vx2Lm0TzR4@db.internal/main"],
        spares: &[
            "postgres://user:password@localhost/db",
            "https://example.com/a:b@c",
            "redis://:${REDIS_PASSWORD}@host",
            "git+ssh://git@github.com/a/b",
            "http://user:q8Vx2Lm0TzR4@localhost:80",
        ],
    },
];

#[derive(Clone, Copy, Eq, PartialEq)]
enum Quotes {
    Needed,
    Optional,
}

/// Returns the value that is assigned to the name at the word: after `=`, `:`, `:=` or `=>`.
fn assigned(window: &Window<'_>, quotes: Quotes) -> Option<Range<usize>> {
    let bytes = window.bytes;
    let mut at = window.word.end;
    let skip = |mut at: usize, of: fn(u8) -> bool| {
        while bytes.get(at).is_some_and(|it| of(*it)) {
            at += 1;
        }
        at
    };
    // The name may go on, as in `password_hash`, and be quoted.
    at = skip(at, |it| it.is_ascii_alphanumeric() || it == b'_').min(window.word.end + 24);
    at = skip(at, |it| matches!(it, b'"' | b'\'' | b'`' | b']'));
    let blank = |it: u8| it == b' ' || it == b'\t';
    at = skip(at, blank);
    let sign = skip(at, |it| matches!(it, b':' | b'=' | b'>'));
    if sign == at || sign > at + 2 || bytes[at..sign] == *b"==" {
        return None;
    }
    at = skip(sign, blank);
    let quote = bytes
        .get(at)
        .copied()
        .filter(|it| matches!(it, b'"' | b'\'' | b'`'));
    let ends: fn(u8, u8) -> bool = |it, quote| it == quote || it == b'\n';
    let (start, quote) = match (quote, quotes) {
        (Some(quote), _) => (at + 1, Some(quote)),
        (None, Quotes::Optional) => (at, None),
        (None, Quotes::Needed) => return None,
    };
    let length = bytes[start..].iter().take(256).position(|it| match quote {
        Some(quote) => ends(*it, quote),
        None => it.is_ascii_whitespace() || matches!(it, b',' | b';' | b'"'),
    });
    let end = length.map_or(bytes.len().min(start + 256), |length| start + length);
    let closed = quote.is_none() || bytes.get(end) == quote.as_ref();
    (closed && end > start).then_some(start..end)
}

/// Letters of both cases and digits, no words, nothing of a path or a template.
fn looks_random(value: &[u8]) -> bool {
    let has = |of: fn(&u8) -> bool| value.iter().any(of);
    has(u8::is_ascii_digit)
        && has(u8::is_ascii_lowercase)
        && has(u8::is_ascii_uppercase)
        && value.iter().all(u8::is_ascii_graphic)
        && !value.iter().any(|it| {
            matches!(
                it,
                b'/' | b'\\' | b'(' | b'{' | b'<' | b'$' | b'"' | b',' | b' '
            )
        })
        && changes_often(value)
        && !is_placeholder(value, 3.4)
}

/// In random text the kind of character changes all the time; in `DATABASE_PASSWORD1` it does not.
fn changes_often(value: &[u8]) -> bool {
    let kind = |it: u8| {
        (
            it.is_ascii_digit(),
            it.is_ascii_uppercase(),
            it.is_ascii_lowercase(),
        )
    };
    let changes = value
        .windows(2)
        .filter(|pair| kind(pair[0]) != kind(pair[1]))
        .count();
    changes * 3 >= value.len()
}

fn url_password(window: &Window<'_>) -> Option<Match> {
    let after = window.after();
    let length = after.iter().take(200).position(|it| {
        !it.is_ascii_graphic()
            || matches!(
                it,
                b'/' | b'"' | b'\'' | b'<' | b'>' | b'`' | b'?' | b'#' | b'\\'
            )
    });
    let authority = &after[..length.unwrap_or(after.len().min(200))];
    let host = authority.iter().rposition(|it| *it == b'@')?;
    let colon = authority[..host].iter().position(|it| *it == b':')?;
    let password = &authority[colon + 1..host];
    let name = authority.get(host + 1..)?;
    let local = [
        &b"localhost"[..],
        b"127.",
        b"example.",
        b"host",
        b"[::1]",
        b"0.0.0.0",
    ];
    let digits = password.iter().any(u8::is_ascii_digit);
    let real = password.len() >= 8
        && digits
        && !local.iter().any(|it| name.starts_with(it))
        && !name.is_empty()
        && find(name, b"example").is_none()
        && !password
            .iter()
            .any(|it| matches!(it, b'{' | b'$' | b'%' | b'*' | b'(' | b':'))
        && !is_placeholder(password, 2.8);
    let start = window.word.end + colon + 1;
    real.then(|| {
        shown(
            &(window.word.start..window.word.end),
            &(start..start + password.len()),
        )
    })
}
