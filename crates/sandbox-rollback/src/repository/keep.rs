//! Which snapshots a policy keeps, and why.

use std::collections::BTreeSet;

use jiff::{Timestamp, civil::Date, tz::TimeZone};
use serde::Serialize;

use super::{
    error::RepositoryError,
    record::{Snapshot, SnapshotId},
};

/// What is kept of many snapshots: those that one of these says. Nothing at all keeps everything.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct KeepPolicy {
    /// The newest.
    pub last: usize,
    /// The newest of each of so many hours that have one, in UTC.
    pub hourly: usize,
    /// The newest of each of so many days.
    pub daily: usize,
    /// The newest of each of so many weeks, from Monday on.
    pub weekly: usize,
    /// The newest of each of so many months.
    pub monthly: usize,
    /// The newest of each of so many years.
    pub yearly: usize,
    /// All that were taken since then.
    pub since: Option<Timestamp>,
    /// Those with one of these tags. Without any, those with a tag at all.
    pub tags: Vec<String>,
    /// None that is older, whatever else says that it stays.
    pub not_before: Option<Timestamp>,
    /// So many bytes in the packs for all of them together: the oldest go first.
    pub bytes_max: Option<u64>,
}

/// One snapshot, and why it stays.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct Kept {
    /// The snapshot.
    pub snapshot: SnapshotId,
    /// When it was taken.
    pub created_at: Timestamp,
    /// Each reason to keep it; it goes if there is none.
    pub reasons: Vec<&'static str>,
    /// The limit that it is beyond, if it goes for that.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub beyond: Option<&'static str>,
}

/// How many bytes a snapshot needs that those before it in the order of questions do not.
pub(super) type Added<'a> = &'a mut dyn FnMut(&Snapshot) -> Result<u64, RepositoryError>;

/// What a period is called, how many of them count, and how a time's period is named.
type Period = (&'static str, usize, fn(&Moment) -> String);

/// A time in UTC.
struct Moment {
    date: Date,
    hour: i8,
}

impl KeepPolicy {
    /// Returns whether it says anything.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    fn periods(&self) -> [Period; 5] {
        [
            ("hourly", self.hourly, |it| {
                format!("{} {}", it.date, it.hour)
            }),
            ("daily", self.daily, |it| it.date.to_string()),
            ("weekly", self.weekly, |it| {
                let week = it.date.iso_week_date();
                format!("{} {}", week.year(), week.week())
            }),
            ("monthly", self.monthly, |it| {
                format!("{} {}", it.date.year(), it.date.month())
            }),
            ("yearly", self.yearly, |it| it.date.year().to_string()),
        ]
    }

    fn has_limits_only(&self) -> bool {
        let without = Self {
            not_before: None,
            bytes_max: None,
            tags: Vec::new(),
            ..self.clone()
        };
        without.is_empty() && (self.not_before.is_some() || self.bytes_max.is_some())
    }

    fn is_pinned(&self, snapshot: &Snapshot) -> bool {
        let mut tags = snapshot.tags.iter();
        tags.any(|tag| self.tags.is_empty() || self.tags.contains(tag))
    }

    /// Returns for each of `snapshots`, oldest first, why it stays. The newest always does, and those
    /// with a tag that pins.
    pub(super) fn decide(
        &self,
        snapshots: &[Snapshot],
        added: Added<'_>,
    ) -> Result<Vec<Kept>, RepositoryError> {
        let mut kept = self.reasons(snapshots);
        self.limit(snapshots, &mut kept, added)?;
        Ok(kept)
    }

    /// Takes away the reasons of those that are beyond a limit.
    fn limit(
        &self,
        snapshots: &[Snapshot],
        kept: &mut [Kept],
        added: Added<'_>,
    ) -> Result<(), RepositoryError> {
        let stays = |one: &Kept| one.reasons.contains(&"newest") || one.reasons.contains(&"tag");
        let mut bytes = 0_u64;
        if self.bytes_max.is_some() {
            for (snapshot, _) in snapshots.iter().zip(&*kept).filter(|(_, one)| stays(one)) {
                bytes += added(snapshot)?;
            }
        }
        for (snapshot, one) in snapshots.iter().zip(kept).rev() {
            if one.reasons.is_empty() || stays(one) {
                continue;
            }
            one.beyond = if self.not_before.is_some_and(|it| snapshot.counted_at() < it) {
                Some("max-age")
            } else if let Some(limit) = self.bytes_max {
                bytes += if bytes > limit { 0 } else { added(snapshot)? };
                (bytes > limit).then_some("max-bytes")
            } else {
                None
            };
            if one.beyond.is_some() {
                one.reasons.clear();
            }
        }
        Ok(())
    }

    fn reasons(&self, snapshots: &[Snapshot]) -> Vec<Kept> {
        let mut kept: Vec<_> = snapshots.iter().map(untouched).collect();
        if self.is_empty() {
            for one in &mut kept {
                one.reasons.push("no policy");
            }
            return kept;
        }
        let newest = snapshots.len().saturating_sub(1);
        for (at, (snapshot, one)) in snapshots.iter().zip(&mut kept).enumerate() {
            let reasons = [
                ("newest", at == newest),
                ("tag", self.is_pinned(snapshot)),
                ("within limits", self.has_limits_only()),
                ("last", snapshots.len() - at <= self.last),
                (
                    "since",
                    self.since
                        .is_some_and(|since| snapshot.counted_at() >= since),
                ),
            ];
            let meant = reasons.into_iter().filter(|(_, meant)| *meant);
            one.reasons.extend(meant.map(|(name, _)| name));
        }
        for (name, count, period) in self.periods() {
            let mut met = BTreeSet::new();
            for (snapshot, one) in snapshots.iter().zip(&mut kept).rev() {
                if met.len() == count {
                    break;
                }
                if met.insert(period(&Moment::of(snapshot.counted_at()))) {
                    one.reasons.push(name);
                }
            }
        }
        kept
    }
}

impl Moment {
    fn of(time: Timestamp) -> Self {
        let time = time.to_zoned(TimeZone::UTC);
        Self {
            date: time.date(),
            hour: time.hour(),
        }
    }
}

fn untouched(snapshot: &Snapshot) -> Kept {
    Kept {
        snapshot: snapshot.id,
        created_at: snapshot.created_at,
        reasons: Vec::new(),
        beyond: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        attributes::Attributes,
        repository::node::{Content, Hash, Node, Stream},
        stat::Time,
        xattr::Xattrs,
    };

    fn taken(times: &[&str]) -> Vec<Snapshot> {
        let attributes = Attributes {
            mode: 0,
            uid: 0,
            gid: 0,
            mtime: Time(0, 0),
            xattrs: Xattrs::new(),
        };
        let content = Content::Directory(Stream::default());
        let root = Node::plain("".as_ref(), attributes, content);
        let of = |(number, time): (u64, &&str)| Snapshot {
            id: SnapshotId(Hash::of(time.as_bytes())),
            number,
            parent: None,
            created_at: time.parse().unwrap(),
            tags: Vec::new(),
            message: None,
            state_sequence: None,
            files: 0,
            dirs: 0,
            bytes: 0,
            new_bytes: 0,
            stored_bytes: 0,
            omitted: 0,
            torn: 0,
            excludes: super::super::exclude::Excludes::default(),
            root: root.clone(),
            imported_at: None,
            random: None,
        };
        (1..).zip(times).map(of).collect()
    }

    const TIMES: [&str; 7] = [
        "2024-12-30T08:00:00Z",
        "2025-11-02T08:00:00Z",
        "2025-11-21T08:00:00Z",
        "2025-11-22T08:00:00Z",
        "2025-11-23T08:10:00Z",
        "2025-11-23T08:50:00Z",
        "2025-11-23T09:00:00Z",
    ];

    fn reasons(policy: KeepPolicy, snapshots: &[Snapshot]) -> Vec<String> {
        // Each has a hundred bytes of its own.
        let kept = policy.decide(snapshots, &mut |_| Ok(100)).unwrap();
        kept.iter().map(|one| one.reasons.join(" ")).collect()
    }

    #[test]
    fn each_period_keeps_its_newest() {
        let policy = KeepPolicy {
            last: 1,
            hourly: 2,
            daily: 2,
            weekly: 2,
            monthly: 2,
            yearly: 2,
            ..KeepPolicy::default()
        };
        let expected = [
            "monthly yearly",
            "weekly",
            "",
            "daily",
            "",
            "hourly",
            "newest last hourly daily weekly monthly yearly",
        ];
        assert_eq!(reasons(policy, &taken(&TIMES)), expected);
    }

    #[test]
    fn tags_time_and_the_newest_keep() {
        let mut snapshots = taken(&TIMES);
        snapshots[0].tags.push("release".to_owned());
        let policy = KeepPolicy {
            since: Some(TIMES[5].parse().unwrap()),
            ..KeepPolicy::default()
        };
        let expected = ["tag", "", "", "", "", "since", "newest since"];
        assert_eq!(reasons(policy.clone(), &snapshots), expected);
        assert!(policy.reasons(&[]).is_empty());
        let all = reasons(KeepPolicy::default(), &snapshots);
        assert!(all.iter().all(|reason| reason == "no policy"));
    }
    #[test]
    fn limits_take_the_oldest_and_say_so() {
        let mut snapshots = taken(&TIMES);
        snapshots[0].tags.push("release".to_owned());
        snapshots[3].tags.push("other".to_owned());
        let limits = |tags: &[&str], bytes_max| KeepPolicy {
            tags: tags.iter().map(|tag| (*tag).to_owned()).collect(),
            not_before: Some(TIMES[2].parse().unwrap()),
            bytes_max,
            ..KeepPolicy::default()
        };
        let within = "within limits";
        let newest = "newest within limits";
        let tag = "tag within limits";
        let aged = reasons(limits(&[], None), &snapshots);
        assert_eq!(aged, [tag, "", within, tag, within, within, newest]);
        // One tag pins, so the other snapshot with a tag is as any other.
        let small = reasons(limits(&["release"], Some(450)), &snapshots);
        assert_eq!(small, [tag, "", "", "", within, within, newest]);
        let policy = limits(&["release"], Some(450));
        let kept = policy.decide(&snapshots, &mut |_| Ok(100)).unwrap();
        let beyond: Vec<_> = kept.iter().filter_map(|one| one.beyond).collect();
        assert_eq!(beyond, ["max-age", "max-bytes", "max-bytes"]);
    }
}
