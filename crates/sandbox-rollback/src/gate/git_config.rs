//! Reads a git configuration as git does, and says what in it may make git run a program.
//!
//! The syntax is that of git-config(1), section "Syntax", and of git's own reader where the manual is vague: what
//! git refuses is refused here. What is known to be harmless is in the tables of `harmless`; all else is not.

mod harmless;

/// One setting.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Entry {
    /// As `git config --list` writes it: section and key in lower case, what is between them as it is.
    pub(super) name: Vec<u8>,
    /// What follows `=`; without a `=`, git takes it for true.
    pub(super) value: Option<Vec<u8>>,
}

/// What a configuration may make git run.
#[derive(Debug, Eq, PartialEq)]
pub(super) enum Doubts {
    /// It cannot be told: git refuses the text, or another reader of it may see something else.
    All,
    /// These settings are not known to be harmless.
    Of(Vec<Entry>),
}

impl Entry {
    /// Returns section, subsection and key, divided at the first and the last dot.
    pub(super) fn parts(&self) -> (&[u8], Option<&[u8]>, &[u8]) {
        let dot = |it: &u8| *it == b'.';
        let name = self.name.as_slice();
        let (Some(first), Some(last)) = (name.iter().position(dot), name.iter().rposition(dot))
        else {
            return (&[], None, name);
        };
        let middle = (first < last).then(|| &name[first + 1..last]);
        (&name[..first], middle, &name[last + 1..])
    }

    pub(super) fn is(&self, section: &str, key: &str) -> bool {
        let (of, _, name) = self.parts();
        of == section.as_bytes() && name == key.as_bytes()
    }
}

/// Returns what `text` may make git run.
pub(super) fn doubts(text: &[u8]) -> Doubts {
    // Carriage returns, vertical tabs and the like: readers differ in what they are, and nobody writes them.
    let odd = |it: &u8| it.is_ascii_control() && !matches!(it, b'\n' | b'\t');
    match entries(text) {
        Some(entries) if !text.iter().any(odd) => {
            let doubtful = entries.into_iter().filter(|it| !harmless::is_harmless(it));
            Doubts::Of(doubtful.collect())
        }
        _ => Doubts::All,
    }
}

/// Returns all settings in their order; `None` if git refuses the text.
pub(super) fn entries(text: &[u8]) -> Option<Vec<Entry>> {
    // Git skips a byte order mark.
    let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text);
    let mut reader = Reader { text, at: 0 };
    let (mut entries, mut section) = (Vec::new(), Vec::new());
    // Without a section, git takes a setting for one of a name without a dot.
    loop {
        match reader.next() {
            b'\n' if reader.is_over() => return Some(entries),
            it if is_space(it) => {}
            b'#' | b';' => reader.skip_line(),
            b'[' => {
                section = reader.section()?;
                section.push(b'.');
            }
            it if it.is_ascii_alphabetic() => {
                let mut name = section.clone();
                name.push(it.to_ascii_lowercase());
                let value = reader.setting(&mut name)?;
                entries.push(Entry { name, value });
            }
            _ => return None,
        }
    }
}

/// Git's `isspace`: no vertical tab and no form feed.
fn is_space(it: u8) -> bool {
    matches!(it, b' ' | b'\t' | b'\n' | b'\r')
}

fn is_of_key(it: u8) -> bool {
    it.is_ascii_alphanumeric() || it == b'-'
}

struct Reader<'a> {
    text: &'a [u8],
    /// What comes next; behind the text once its end was read.
    at: usize,
}

impl Reader<'_> {
    /// Returns the next byte; a line's end for `\r\n`, and at the end.
    fn next(&mut self) -> u8 {
        if self.text[self.at.min(self.text.len())..].starts_with(b"\r\n") {
            self.at += 1;
        }
        let byte = self.text.get(self.at).copied().unwrap_or(b'\n');
        self.at += 1;
        byte
    }

    fn is_over(&self) -> bool {
        self.at > self.text.len()
    }

    fn skip_line(&mut self) {
        while self.next() != b'\n' {}
        // The end is to be met once more.
        if self.is_over() {
            self.at = self.text.len();
        }
    }

    /// Reads a header behind its `[`.
    fn section(&mut self) -> Option<Vec<u8>> {
        let mut name = Vec::new();
        loop {
            match self.next() {
                _ if self.is_over() => return None,
                b']' if name.is_empty() => return None,
                b']' => return Some(name),
                it if is_space(it) => return self.subsection(name, it),
                it if is_of_key(it) || it == b'.' => name.push(it.to_ascii_lowercase()),
                _ => return None,
            }
        }
    }

    /// Reads the rest of a header, from the white space `it` behind the section's name.
    fn subsection(&mut self, mut name: Vec<u8>, mut it: u8) -> Option<Vec<u8>> {
        while is_space(it) {
            if it == b'\n' {
                return None;
            }
            it = self.next();
        }
        if it != b'"' {
            return None;
        }
        name.push(b'.');
        loop {
            let it = match self.next() {
                b'"' => break,
                b'\\' => self.next(),
                it => it,
            };
            if it == b'\n' {
                return None;
            }
            name.push(it);
        }
        (self.next() == b']').then_some(name)
    }

    /// Reads the rest of a key into `name`, and its value.
    #[expect(
        clippy::option_option,
        reason = "refused by git, no value, and a value are three things"
    )]
    fn setting(&mut self, name: &mut Vec<u8>) -> Option<Option<Vec<u8>>> {
        let mut it = self.next();
        while is_of_key(it) {
            name.push(it.to_ascii_lowercase());
            it = self.next();
        }
        while matches!(it, b' ' | b'\t') {
            it = self.next();
        }
        let value = match it {
            b'\n' => None,
            b'=' => Some(self.value()?),
            _ => return None,
        };
        if self.is_over() {
            self.at = self.text.len();
        }
        Some(value)
    }

    fn value(&mut self) -> Option<Vec<u8>> {
        let (mut value, mut quoted) = (Vec::new(), false);
        // Where white space begins that counts only if something follows it.
        let mut blank_from = None;
        loop {
            let mut it = self.next();
            if it == b'\n' {
                value.truncate(blank_from.unwrap_or(value.len()));
                return (!quoted).then_some(value);
            }
            if is_space(it) && !quoted {
                blank_from = blank_from.or(Some(value.len()));
                if !value.is_empty() {
                    value.push(it);
                }
                continue;
            }
            if !quoted && matches!(it, b';' | b'#') {
                self.skip_line();
                value.truncate(blank_from.unwrap_or(value.len()));
                return Some(value);
            }
            blank_from = None;
            if it == b'"' {
                quoted = !quoted;
                continue;
            }
            if it == b'\\' {
                it = match self.next() {
                    b'\n' => continue,
                    b't' => b'\t',
                    b'b' => 8,
                    b'n' => b'\n',
                    it @ (b'\\' | b'"') => it,
                    _ => return None,
                };
            }
            value.push(it);
        }
    }
}

#[cfg(test)]
mod tests;
