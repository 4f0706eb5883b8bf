//! The escapes of `$'…'`, `echo -e` and `printf`.

/// Decodes the escapes of `$'…'` (bash manual, "ANSI-C Quoting").
pub(crate) fn decode_ansi_c(body: &str) -> String {
    let mut text = String::with_capacity(body.len());
    let mut chars = body.chars().peekable();
    while let Some(c) = chars.next() {
        if c != '\\' {
            text.push(c);
            continue;
        }
        let Some(kind) = chars.next() else { break };
        let (radix, digits) = match kind {
            'x' => (16, 2),
            'u' => (16, 4),
            'U' => (16, 8),
            '0'..='7' => (8, 3),
            _ => (0, 0),
        };
        if radix == 0 {
            text.push(match kind {
                'n' => '\n',
                't' => '\t',
                'r' => '\r',
                'a' => '\u{7}',
                'b' => '\u{8}',
                'e' | 'E' => '\u{1b}',
                'f' => '\u{c}',
                'v' => '\u{b}',
                other => other,
            });
            continue;
        }
        let mut code = kind.to_digit(8).filter(|_| radix == 8).unwrap_or(0);
        let read = usize::from(radix == 8);
        for _ in read..digits {
            let Some(digit) = chars.peek().and_then(|c| c.to_digit(radix)) else {
                break;
            };
            code = code.saturating_mul(radix).saturating_add(digit);
            chars.next();
        }
        text.push(char::from_u32(code).unwrap_or('\u{fffd}'));
    }
    text
}
