//! The entry of a user in `/etc/passwd`. The program is linked statically, and asks no name service.

use std::{ffi::OsString, fs, os::unix::ffi::OsStringExt as _, path::PathBuf};

const FILE: &str = "/etc/passwd";

/// Returns the home directory of a user, if the file has one.
pub(super) fn home_of(uid: u32) -> Option<PathBuf> {
    home_in(&fs::read(FILE).ok()?, uid)
}

/// Returns the sixth field of the first line whose third is `uid`: passwd(5).
fn home_in(text: &[u8], uid: u32) -> Option<PathBuf> {
    let wanted = uid.to_string();
    let mut lines = text.split(|byte| *byte == b'\n');
    let home = lines.find_map(|line| {
        let mut fields = line.split(|byte| *byte == b':').skip(2);
        (fields.next()? == wanted.as_bytes()).then(|| fields.nth(2))?
    })?;
    let home = PathBuf::from(OsString::from_vec(home.to_owned()));
    home.is_absolute().then_some(home)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn the_first_entry_counts_and_must_be_a_path() {
        let text = b"root:x:0:0:root:/root:/bin/sh\n# no entry\nshort:x:7\n\
            me:x:1000:1000::/home/me:/bin/sh\nagain:x:1000:1000::/other:/bin/sh\nodd:x:8:8::home:/bin/sh\n";
        assert_eq!(home_in(text, 1000).as_deref(), Some(Path::new("/home/me")));
        assert_eq!(home_in(text, 0).as_deref(), Some(Path::new("/root")));
        for uid in [7, 8, 9, 100] {
            assert_eq!(home_in(text, uid), None, "{uid}");
        }
    }
}
