//! Private keys, signed tokens and password hashes.

use std::ops::Range;

use sandbox_types::RiskLevel::{Low, Medium};

use super::{ContentRule, LooksIn, Match, When, tokens::REVOKE, tokens::SECRET};
use crate::content::{
    token::{Of, Part, entropy, find, is_made_up},
    window::Window,
};

const NEW_KEY: &str = "make a new key pair, and keep the private key out of shared files";

pub(super) static RULES: &[ContentRule] = &[
    ContentRule {
        id: "secret.private-key",
        message: "holds a private key",
        suggestion: NEW_KEY,
        when: When::Around(&["PRIVATE KEY-----", "PRIVATE KEY BLOCK-----"], private_key),
        matches: &[
            concat!(
                "-----BEGIN RSA PRIV",
                "ATE KEY-----\nMIIEpAIBAAKCAQEAyXic6YOZq0M7qO60lI5QfecJUyGTelVEnIKXVuuEomFKB8Ky\nVQ3JYmzSgnYNPPtPQvv9PBmGGwYPnqwYo8kwQj1qH9CstFpS8gELRersl9a6s\n"
            ),
            concat!(
                "key: \"-----BEGIN PRIV",
                "ATE KEY-----\\nMIIEpAIBAAKCAQEAyXic6YOZq0M7qO60lI5QfecJUyGTelVEnIKXVuuEomFKB8KyVQ3JYmzSgnYNPPtPQvv9\\n"
            ),
            concat!(
                "-----BEGIN OPENSSH PRIV",
                "ATE KEY-----\nb3BlbnNzaC1rZXktdjEAAAAABG5vbmUAAAAEbm9uZQAAAAAAAAABAAAAMwAAAAtzc2gtZW\nQyNTUxOQAAACCyXic6YOZq0M7qO60lI5QfecJUyGTelVEnIKXVuuEomFKB8KyVQ3JYmzSgnYN\n-----END"
            ),
        ],
        spares: &[
            "-----BEGIN RSA PRIVATE KEY-----\n...\n-----END RSA PRIVATE KEY-----",
            "if text.startswith('-----BEGIN PRIVATE KEY-----'):",
            "-----BEGIN PUBLIC KEY-----\nMIIEpAIBAAKCAQEAyXic6YOZq0M7qO60lI5QfecJUyGTelVEnIKXVuuEomFKB8Ky",
        ],
        ..SECRET
    },
    ContentRule {
        id: "secret.private-key-base64",
        message: "holds a private key in base64",
        suggestion: NEW_KEY,
        when: When::Token(
            &[
                "LS0tLS1CRUdJTiBQUklWQVRFIEtFWS",
                "LS0tLS1CRUdJTiBSU0EgUFJJVkFURSBLRVkt",
                "LS0tLS1CRUdJTiBFQyBQUklWQVRFIEtFWS",
                "LS0tLS1CRUdJTiBPUEVOU1NIIFBSSVZBVEUgS0VZ",
            ],
            &[Part::Run(Of::Base64, 64, 4000)],
            |token| entropy(token) > 4.0,
        ),
        matches: &[concat!(
            "client-key-data: LS0tLS1CRUdJTiBSU0EgUFJJVkFURSBL",
            "RVktyXic6YOZq0M7qO60lI5QfecJUyGTelVEnIKXVuuEomFKB8KyVQ3JYmzSgnYNPPtPQvv9PBmGGwYPnqwYo8kw"
        )],
        spares: &[
            "LS0tLS1CRUdJTiBSU0EgUFJJVkFURSBLRVkt",
            "LS0tLS1CRUdJTiBDRVJUSUZJQ0FURS0tLS0t",
        ],
        ..SECRET
    },
    ContentRule {
        id: "secret.putty-key",
        message: "holds a private key of PuTTY",
        suggestion: NEW_KEY,
        when: When::Around(&["PuTTY-User-Key-File-"], |window| {
            let body = find(window.after(), b"Private-Lines:")?;
            let digits = window.after().get(body + 14..)?.trim_ascii_start();
            digits
                .first()?
                .is_ascii_digit()
                .then(|| shown(&window.word, &window.word))
        }),
        matches: &[
            "PuTTY-User-Key-File-3: ssh-ed25519\nEncryption: none\nPublic-Lines: 2\nAAAA\nPrivate-Lines: 1\nAAAA",
        ],
        spares: &["PuTTY-User-Key-File-2 is the format"],
        ..SECRET
    },
    ContentRule {
        id: "secret.age-key",
        message: "holds an age key",
        suggestion: NEW_KEY,
        when: When::Token(
            &["AGE-SECRET-KEY-1"],
            &[Part::Run(Of::UpperAlnum, 58, 58)],
            |it| !is_made_up(it),
        ),
        matches: &[concat!(
            "AGE-SECR",
            "ET-KEY-1DY8RM6S0G958YQ8JJUZNM8XW8A3M702NXU6WHHMWVN73ACD9ZF6CQEDNM4"
        )],
        spares: &["AGE-SECRET-KEY-1..."],
        ..SECRET
    },
    ContentRule {
        id: "secret.gcp-service-account",
        message: "holds the key of a Google service account",
        suggestion: REVOKE,
        when: When::Around(&["\"private_key_id\""], |window| {
            let value = quoted_value(window.after())?;
            let hex = &window.after()[value.clone()];
            let is_id = hex.len() == 40 && hex.iter().all(|it| Of::LowerHex.has(*it));
            let at = window.word.end;
            (is_id && window.has_near(&["begin private key"], 3000))
                .then(|| shown(&window.word, &(at + value.start..at + value.end)))
        }),
        matches: &[concat!(
            "{\"type\": \"service_account\",\n\"private_key_id\": \"bfcc8c928344b16103485a1c292be01e4fc2d031\",\n\"private_key\": \"-----BEGIN PRIV",
            "ATE KEY-----\\nMII\"}"
        )],
        spares: &["{\"private_key_id\": \"id\"}"],
        ..SECRET
    },
    ContentRule {
        id: "secret.jwt",
        severity: Medium,
        message: "holds a signed JSON web token",
        suggestion: "let it expire, or revoke it; ask for tokens when they are needed",
        when: When::Around(&["eyJ"], json_web_token),
        matches: &[concat!(
            "eyJ",
            "hbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiI4MzkyMDE4NDciLCJuYW1lIjoiSmFuZSJ9.9M02bB3f8nUVRBoMFTXptvp7WhPvFMKFl8zE8Ajlb0c"
        )],
        spares: &[
            "eyJhbGciOiJIUzI1NiJ9",
            "eyJxxxxxxx.eyJyyyyyyy.zzzzzzzzzzzzzzzzzzzzzzzzz",
        ],
        ..SECRET
    },
    ContentRule {
        id: "secret.password-hash",
        severity: Medium,
        looks_in: LooksIn::Text,
        message: "holds the hash of a password, as /etc/shadow has it",
        suggestion: "change the password, and keep the hash out of shared files",
        when: When::Around(&[":$6$", ":$5$", ":$y$", ":$2y$", ":$2b$"], |window| {
            let hash = window.bytes[window.word.start + 1..]
                .iter()
                .take_while(|it| Of::Base64.has(**it) || matches!(it, b'$' | b'.' | b'='))
                .count();
            let named = window
                .before()
                .last()
                .is_some_and(|it| Of::Unreserved.has(*it));
            let start = window.word.start + 1;
            (hash >= 50 && named).then(|| shown(&window.word, &(start..start + hash)))
        }),
        matches: &[
            "root:$6$yXic6YOZ$NB7FIYnqdodrN1o5JqEt/lRC3ZWYdzAeAY2omtTtvM5riija1IYLsD6c060ZGUfpDNhmMLm43B3OjdK2OLMdNJ:19000:0",
        ],
        spares: &["root:$6$salt$hash:", "a :$6$"],
    },
    ContentRule {
        id: "secret.netrc",
        severity: Medium,
        looks_in: LooksIn::Code,
        message: "holds a login with its password, as .netrc has it",
        when: When::Around(&["machine "], |window| {
            let line = &window.bytes[window.line()];
            let words: Vec<&[u8]> = line
                .split(u8::is_ascii_whitespace)
                .filter(|it| !it.is_empty())
                .collect();
            let [b"machine", _, b"login", _, b"password", password, ..] = words.as_slice() else {
                return None;
            };
            let start = window.line().start + find(line, password)?;
            (!crate::content::token::is_placeholder(password, 2.0))
                .then(|| shown(&window.word, &(start..start + password.len())))
        }),
        matches: &["machine example.org login jane password q8Vx2Lm0TzR4"],
        spares: &[
            "machine example.org login jane password yourpassword",
            "the machine is on",
        ],
        ..SECRET
    },
    ContentRule {
        id: "secret.key-store",
        severity: Low,
        looks_in: LooksIn::Name,
        message: "is a store of keys or passwords",
        suggestion: "keep it out of shared directories",
        when: When::File(|facts| {
            let known = ["p12", "pfx", "jks", "keystore", "kdbx", "ppk"];
            known
                .contains(&facts.extension.as_str())
                .then(|| facts.name.clone())
        }),
        matches: &["@release.jks|x", "@Passwords.KDBX|x"],
        spares: &["@keystore.rs|x"],
    },
    ContentRule {
        id: "secret.bearer",
        severity: Medium,
        looks_in: LooksIn::Text,
        message: "holds an authorization header with its token",
        when: When::Around(
            &[
                "authorization: bearer ",
                "authorization: token ",
                "authorization: basic ",
            ],
            |window| {
                let token = window
                    .after()
                    .iter()
                    .take_while(|it| Of::Unreserved.has(**it) || matches!(it, b'+' | b'/' | b'='))
                    .count();
                let value = &window.after()[..token];
                let real = token >= 20 && !crate::content::token::is_placeholder(value, 3.2);
                real.then(|| shown(&window.word, &(window.word.end..window.word.end + token)))
            },
        ),
        matches: &["curl -H 'Authorization: Bearer yXic6YOZq0M7qO60lI5QfecJUyGT' x"],
        spares: &[
            "Authorization: Bearer <token>",
            "Authorization: Bearer $TOKEN",
            "authorization: bearer of good news",
        ],
        ..SECRET
    },
];

pub(super) fn shown(word: &Range<usize>, secret: &Range<usize>) -> Match {
    Match::Secret(word.clone(), secret.clone())
}

/// A `BEGIN` line, and so much base64 after it that it is no mention.
fn private_key(window: &Window<'_>) -> Option<Match> {
    let before = window.before();
    let start = before.len() - before.iter().rev().take(40).position(|it| *it == b'-')?;
    let label = &before[start..];
    let named = label.starts_with(b"BEGIN ")
        && label
            .iter()
            .all(|it| it.is_ascii_uppercase() || *it == b' ');
    if !named || !before[..start].ends_with(b"-----") {
        return None;
    }
    // Lines may end in the two characters `\n`, as in JSON. Headers have a colon.
    let mut key = Vec::new();
    for line in window.after().split(|it| *it == b'\n').take(60) {
        let line = line.trim_ascii();
        if line.contains(&b':') && key.is_empty() {
            continue;
        }
        let line = String::from_utf8_lossy(line);
        let line = line.replace("\\r", "").replace("\\n", "");
        let before = key.len();
        key.extend(
            line.bytes()
                .take_while(|it| Of::Base64.has(*it) || *it == b'='),
        );
        let ends = key.len() - before < line.len();
        if ends || key.len() >= KEY_EXAMINED {
            break;
        }
    }
    (key.len() >= 64 && entropy(&key) > 3.5).then(|| Match::Shown(start - 5..window.word.end))
}

/// So many characters of a key are looked at: the first line of some is mostly zeros.
const KEY_EXAMINED: usize = 200;

/// Three parts in base64 of which the first is a JSON header with an algorithm.
fn json_web_token(window: &Window<'_>) -> Option<Match> {
    if !window.begins_name() {
        return None;
    }
    let text = &window.bytes[window.word.start..];
    let length = text
        .iter()
        .take_while(|it| Of::Base64Url.has(**it) || **it == b'.')
        .count();
    let mut parts = text[..length].splitn(3, |it| *it == b'.');
    let (header, claims, signature) = (parts.next()?, parts.next()?, parts.next()?);
    let header = base64(header)?;
    let is_token = header.starts_with(b"{\"")
        && find(&header, b"\"alg\"").is_some()
        && claims.starts_with(b"eyJ")
        && signature.len() >= 20
        && !is_made_up(signature);
    let start = window.word.start;
    is_token.then(|| shown(&window.word, &(start..start + length)))
}

/// Decodes base64 with the alphabet of URLs; what does not fill a byte at the end is dropped.
pub(super) fn base64(text: &[u8]) -> Option<Vec<u8>> {
    let mut decoded = Vec::with_capacity(text.len() * 3 / 4);
    let (mut bits, mut count) = (0_u32, 0);
    for byte in text {
        let value = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'-' | b'+' => 62,
            b'_' | b'/' => 63,
            _ => return None,
        };
        bits = bits << 6 | u32::from(value);
        count += 6;
        if count >= 8 {
            count -= 8;
            decoded.push(u8::try_from(bits >> count & 0xff).ok()?);
        }
    }
    Some(decoded)
}

/// Returns where the next text in double quotes stands, after a colon.
fn quoted_value(text: &[u8]) -> Option<Range<usize>> {
    let text = text.get(..200.min(text.len()))?;
    let colon = text.iter().position(|it| *it == b':')?;
    let start = colon + text[colon..].iter().position(|it| *it == b'"')? + 1;
    let length = text[start..].iter().position(|it| *it == b'"')?;
    Some(start..start + length)
}
