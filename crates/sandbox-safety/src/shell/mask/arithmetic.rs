//! Where arithmetic ends.

/// Returns the length of `(( … ))` when both closing parentheses belong together.
pub(super) fn arithmetic_length(rest: &[u8]) -> Option<usize> {
    let mut open = 0_usize;
    for (at, byte) in rest.iter().enumerate() {
        match byte {
            b'(' => open += 1,
            b')' => {
                open -= 1;
                if open == 1 {
                    return (rest.get(at + 1) == Some(&b')')).then_some(at + 2);
                }
            }
            b'\n' | b'\'' => return None,
            _ => {}
        }
    }
    None
}
