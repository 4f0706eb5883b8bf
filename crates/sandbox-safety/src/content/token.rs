//! Forms of tokens: which characters, how many, which checksum; and whether a value looks random.

/// A set of characters that a part of a token is made of.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Of {
    Digit,
    LowerHex,
    Hex,
    /// `A` to `Z` and `2` to `7`.
    Base32,
    UpperAlnum,
    Alpha,
    Alnum,
    /// Letters, digits, `-` and `_`.
    Base64Url,
    /// Letters, digits, `+` and `/`.
    Base64,
    /// Letters, digits, `-`, `_`, `.` and `~`.
    Unreserved,
}

impl Of {
    pub(crate) const fn has(self, byte: u8) -> bool {
        match self {
            Self::Digit => byte.is_ascii_digit(),
            Self::LowerHex => matches!(byte, b'0'..=b'9' | b'a'..=b'f'),
            Self::Hex => byte.is_ascii_hexdigit(),
            Self::Base32 => matches!(byte, b'A'..=b'Z' | b'2'..=b'7'),
            Self::UpperAlnum => matches!(byte, b'A'..=b'Z' | b'0'..=b'9'),
            Self::Alpha => byte.is_ascii_alphabetic(),
            Self::Alnum => byte.is_ascii_alphanumeric(),
            Self::Base64Url => byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'),
            Self::Base64 => byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/'),
            Self::Unreserved => {
                byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~')
            }
        }
    }
}

/// What follows the beginning of a token, from left to right.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Part {
    /// From `min` to `max` characters, as many as there are.
    Run(Of, usize, usize),
    /// Exactly this.
    Text(&'static str),
}

/// Returns how many bytes of `text` the parts take, or `None` if it has another form. The last part
/// must end where its characters end.
pub(crate) fn measure(parts: &[Part], text: &[u8]) -> Option<usize> {
    let mut at = 0;
    for part in parts {
        let rest = text.get(at..)?;
        at += match *part {
            Part::Text(exact) => rest.starts_with(exact.as_bytes()).then_some(exact.len())?,
            Part::Run(of, min, max) => {
                let run = rest
                    .iter()
                    .take(max)
                    .take_while(|byte| of.has(**byte))
                    .count();
                (run >= min).then_some(run)?
            }
        };
    }
    let ends = match parts.last() {
        Some(Part::Run(of, ..)) => !text.get(at).is_some_and(|next| of.has(*next)),
        Some(Part::Text(_)) | None => true,
    };
    ends.then_some(at)
}

const BASE62: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// The checksum of GitHub's and npm's tokens: after the prefix of four characters come thirty random
/// ones and the CRC-32 of these in six digits of base 62.
/// Source: <https://github.blog/2021-04-05-behind-githubs-new-authentication-token-formats/>.
pub(crate) fn has_crc32(token: &[u8]) -> bool {
    let Some((random, digits)) = token.get(4..).and_then(|it| it.split_at_checked(30)) else {
        return false;
    };
    let mut sum = crc32(random);
    let mut expected = [b'0'; 6];
    for digit in expected.iter_mut().rev() {
        *digit = BASE62[(sum % 62) as usize];
        sum /= 62;
    }
    digits == expected
}

fn crc32(bytes: &[u8]) -> u32 {
    let mut crc = u32::MAX;
    for byte in bytes {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = (crc >> 1) ^ (0xedb8_8320 & (crc & 1).wrapping_neg());
        }
    }
    !crc
}

/// Texts that stand where a secret would stand in documentation.
const PLACEHOLDERS: &[&str] = &[
    "example",
    "xxxx",
    "yyyy",
    "....",
    "****",
    "your",
    "change",
    "replace",
    "insert",
    "placeholder",
    "dummy",
    "sample",
    "redacted",
    "123456",
    "abcdef",
    "foobar",
    "deadbeef",
    "<",
    "${",
    "{{",
    "%s",
    "fixme",
    "000000",
    "secret",
    "password",
    "token",
    "test",
    "fake",
    "none",
    "null",
];

/// Returns whether a value is written for readers and not for machines, or is not random enough:
/// `bits` of entropy for each character.
pub(crate) fn is_placeholder(value: &[u8], bits: f64) -> bool {
    let lower = value.to_ascii_lowercase();
    let named = |word: &&str| find(&lower, word.as_bytes()).is_some();
    PLACEHOLDERS.iter().any(named) || entropy(value) < bits
}

/// Like [`is_placeholder`] for tokens of a known provider: the form is proof enough, unless it is
/// plainly made up.
pub(crate) fn is_made_up(value: &[u8]) -> bool {
    let lower = value.to_ascii_lowercase();
    [
        "example", "xxxxx", "00000000", "12345678", "abcdefgh", "deadbeef",
    ]
    .iter()
    .any(|word| find(&lower, word.as_bytes()).is_some())
        || entropy(value) < 2.5
}

/// Returns the entropy of the bytes by their frequency, in bits for each (Shannon).
pub(crate) fn entropy(value: &[u8]) -> f64 {
    let mut counts = [0_u32; 256];
    for byte in value {
        counts[usize::from(*byte)] += 1;
    }
    let total = f64::from(u32::try_from(value.len()).unwrap_or(u32::MAX));
    counts
        .iter()
        .filter(|count| **count > 0)
        .map(|count| {
            let share = f64::from(*count) / total;
            -share * share.log2()
        })
        .sum()
}

/// Returns where `needle` first stands.
pub(crate) fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|it| it == needle)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_githubs() {
        // A published token that was revoked years ago.
        assert!(has_crc32(
            concat!("ghp", "_zQWBuTSOoRi4A9spHcVY5ncnsDkxkJ0mLq17").as_bytes()
        ));
        assert!(!has_crc32(
            concat!("ghp", "_zQWBuTSOoRi4A9spHcVY5ncnsDkxkJ0mLq18").as_bytes()
        ));
        assert!(!has_crc32(b"ghp_short"));
        assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
    }

    #[test]
    fn forms_are_exact() {
        let form = [
            Part::Run(Of::Digit, 2, 4),
            Part::Text("-"),
            Part::Run(Of::Hex, 3, 3),
        ];
        assert_eq!(measure(&form, b"12-abc rest"), Some(6));
        assert_eq!(measure(&form, b"12-abcd"), None, "too long");
        assert_eq!(measure(&form, b"1-abc"), None, "too short");
        assert_eq!(measure(&form, b"12-ab"), None);
    }

    #[test]
    fn what_is_written_for_readers_is_no_secret() {
        for text in [
            "your-api-key-here",
            "xxxxxxxxxxxxxxxx",
            "aaaaaaaaaaaaaaaa",
            "${PASSWORD}",
        ] {
            assert!(is_placeholder(text.as_bytes(), 3.5), "{text}");
        }
        assert!(!is_placeholder(b"q8Vx2Lm0TzR4wK7p", 3.5));
    }
}
