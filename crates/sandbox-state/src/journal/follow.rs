//! Reading a journal on, as it grows: every record once, in order, whoever appends.

use std::{fs::File, io, os::unix::fs::MetadataExt as _, sync::Arc};

use rustix::fs::OFlags;

use super::{
    FILE_NAME, Journal,
    frame::Fault,
    records::{ReadError, Record, Records},
    snapshot::{Snapshot, Trouble},
};
use crate::{Hash, files::Directory};

/// A place in a journal, from which it is read on.
///
/// It holds the file open, so that the last records of a journal that is being removed are not lost.
#[derive(Debug)]
pub struct Follower {
    journal: Journal,
    /// The newest file that was known, and its directory.
    newest: Option<(Arc<Directory>, Arc<File>)>,
    place: Place,
    /// Records up to this number are passed over.
    after: u64,
}

/// Where the next record begins, and which one is before it.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Place {
    pub(super) offset: u64,
    pub(super) sequence: u64,
    pub(super) previous: Hash,
}

impl Follower {
    /// Returns a reader of the records after number `after`, there now or later; `None` is the newest
    /// that is there now.
    pub(super) fn new(journal: &Journal, after: Option<u64>) -> Result<Self, ReadError> {
        let mut follower = Self {
            journal: journal.clone(),
            newest: None,
            place: Place::default(),
            after: after.unwrap_or(0),
        };
        if after == Some(0) {
            return Ok(follower);
        }
        if let Some(snapshot) = follower.snapshot()? {
            follower.place = place_after(&snapshot, after.unwrap_or(u64::MAX))?;
        }
        Ok(follower)
    }

    /// Returns the next records, at most `most`; none if there are none yet. `None` if the journal
    /// was removed, and everything in it was read.
    ///
    /// # Errors
    ///
    /// Fails when the file cannot be read or is not ours alone, when a record is damaged, and when
    /// records that were read are not there any more.
    pub fn read(&mut self, most: usize) -> Result<Option<Vec<Record>>, ReadError> {
        let Some(snapshot) = self.snapshot()? else {
            return Ok(Some(Vec::new()));
        };
        if snapshot.end < self.place.offset {
            return Err(snapshot.error(snapshot.end, Fault::Sequence.into()));
        }
        let mut records = Records::from(snapshot, self.place);
        let mut read = Vec::new();
        while read.len() < most
            && let Some(record) = records.next()
        {
            let record = match record {
                Ok(record) => record,
                // What is before it is handed over first; the next call comes back to it.
                Err(_) if !read.is_empty() => break,
                Err(error) => return Err(error),
            };
            self.place = records.place();
            if record.sequence > self.after {
                read.push(record);
            }
        }
        if read.is_empty() && self.is_removed() {
            return Ok(None);
        }
        Ok(Some(read))
    }

    /// Whether nobody can append any more.
    fn is_removed(&self) -> bool {
        self.newest
            .as_ref()
            .is_some_and(|(_, file)| file.metadata().is_ok_and(|metadata| metadata.nlink() == 0))
    }

    /// Returns the journal as it is now; `None` while there is none.
    fn snapshot(&mut self) -> Result<Option<Snapshot>, ReadError> {
        let path = self.journal.path();
        if !self.has_newest() {
            let opened = Directory::open(&self.journal.directory).and_then(|directory| {
                let Some(directory) = directory else {
                    return Ok(None);
                };
                let file = directory.file(FILE_NAME, OFlags::RDONLY)?;
                Ok(file.map(|file| (Arc::new(directory), Arc::new(file))))
            });
            let opened = opened.map_err(|source| ReadError::Open {
                path: path.clone(),
                source,
            })?;
            if opened.is_some() {
                self.newest = opened;
            }
        }
        let Some((directory, file)) = &self.newest else {
            return Ok(None);
        };
        Snapshot::of_all(path, Arc::clone(directory), Arc::clone(file)).map(Some)
    }

    /// Whether the file that is open is the one to which records are appended, or was removed with
    /// everything that is to be read. A full one has another name.
    fn has_newest(&self) -> bool {
        let Some((directory, file)) = &self.newest else {
            return false;
        };
        let known = || -> io::Result<bool> {
            let this = file.metadata()?;
            let newest = directory.inode_of(FILE_NAME)?;
            Ok(this.nlink() == 0 || newest.is_none_or(|(inode, _)| inode == this.ino()))
        };
        known().unwrap_or(true)
    }
}

/// Finds where the record after number `after` begins, from the end: mostly the newest are asked for.
fn place_after(snapshot: &Snapshot, after: u64) -> Result<Place, ReadError> {
    let system = |error: io::Error| snapshot.error(snapshot.end, Trouble::System(error));
    let mut whole = snapshot.last_whole().map_err(system)?;
    while let Some((frame, end)) = whole {
        if frame.sequence <= after {
            return Ok(Place {
                offset: end,
                sequence: frame.sequence,
                previous: frame.hash,
            });
        }
        let end = end - frame.length();
        if end == 0 {
            break;
        }
        let before = snapshot.frame_before(end);
        whole = Some((before.map_err(|trouble| snapshot.error(end, trouble))?, end));
    }
    Ok(Place::default())
}

#[cfg(test)]
mod tests {
    use std::{fs, thread};

    use jiff::Timestamp;

    use super::*;
    use crate::StateManager;

    fn journal(directory: &std::path::Path) -> Journal {
        StateManager::open(directory).journal().clone()
    }

    fn append(journal: &Journal, count: u64) {
        for number in 0..count {
            journal
                .append("test", Timestamp::UNIX_EPOCH, &number)
                .unwrap();
        }
    }

    fn read(follower: &mut Follower) -> Option<Vec<u64>> {
        let records = follower.read(1000).unwrap()?;
        Some(records.iter().map(|record| record.sequence).collect())
    }

    #[test]
    fn what_comes_is_read_once_from_any_place_on() {
        let lab = tempfile::tempdir().unwrap();
        let journal = journal(lab.path());
        let mut early = journal.follow(None).unwrap();
        assert_eq!(read(&mut early), Some(vec![]));
        append(&journal, 3);
        let mut places = [Some(0), Some(2), Some(4), None].map(|it| journal.follow(it).unwrap());
        append(&journal, 2);
        let got = places.each_mut().map(|it| read(it).unwrap());
        assert_eq!(
            got,
            [vec![1, 2, 3, 4, 5], vec![3, 4, 5], vec![5], vec![4, 5]]
        );
        assert_eq!(read(&mut early), Some(vec![1, 2, 3, 4, 5]));
        assert_eq!(read(&mut early), Some(vec![]));
    }

    #[test]
    fn a_removed_journal_is_read_to_its_end() {
        let lab = tempfile::tempdir().unwrap();
        let journal = journal(lab.path());
        append(&journal, 2);
        let mut follower = journal.follow(Some(0)).unwrap();
        assert_eq!(read(&mut follower), Some(vec![1, 2]));
        append(&journal, 1);
        fs::remove_file(journal.path()).unwrap();
        append(&journal, 1);
        assert_eq!(read(&mut follower), Some(vec![3]));
        assert_eq!(read(&mut follower), None);
    }

    #[test]
    fn a_cut_journal_is_an_error() {
        let lab = tempfile::tempdir().unwrap();
        let journal = journal(lab.path());
        append(&journal, 2);
        let mut follower = journal.follow(None).unwrap();
        let file = File::options().write(true).open(journal.path()).unwrap();
        file.set_len(1).unwrap();
        follower.read(1).unwrap_err();
    }

    #[test]
    fn nothing_is_lost_while_many_append() {
        let lab = tempfile::tempdir().unwrap();
        let journal = journal(lab.path());
        let mut follower = journal.follow(Some(0)).unwrap();
        let mut seen = Vec::new();
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| append(&journal, 50));
            }
            while seen.len() < 200 {
                seen.extend(read(&mut follower).unwrap());
            }
        });
        assert_eq!(seen, (1..=200).collect::<Vec<u64>>());
    }
}
