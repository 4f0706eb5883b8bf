//! What is asked for on the command line: a profile, some of its runs, some of their tests.

use super::{PROFILES, Pass, Profile, Suite, User};

/// What is to be run.
#[derive(Debug, Default)]
pub(crate) struct Wanted<'a> {
    /// One profile; all without.
    profile: Option<&'a str>,
    /// Only the runs of this user, and of these tests.
    user: Option<User>,
    suite: Option<Suite>,
    /// Only tests whose names contain one of these.
    names: Vec<&'a str>,
    /// The package of another kernel than the default one of the distribution.
    pub(super) kernel: Option<&'a str>,
}

impl<'a> Wanted<'a> {
    /// Reads `[--kernel PACKAGE] [--as USER] [--suite SUITE] [PROFILE [NAME...]]`; `None` if it is something else.
    pub(crate) fn parse(words: &[&'a str]) -> Option<Self> {
        let mut wanted = Self::default();
        let mut rest = words.iter().copied();
        while let Some(word) = rest.next() {
            match word {
                "--kernel" => wanted.kernel = Some(rest.next()?),
                "--as" => wanted.user = Some(User::named(rest.next()?)?),
                "--suite" => wanted.suite = Some(Suite::named(rest.next()?)?),
                option if option.starts_with('-') => return None,
                profile if wanted.profile.is_none() => wanted.profile = Some(profile),
                name => wanted.names.push(name),
            }
        }
        let known = |name: &str| PROFILES.iter().any(|it| it.name == name);
        wanted.profile.is_none_or(known).then_some(wanted)
    }

    /// Returns the wanted profiles, each with its wanted runs.
    pub(super) fn chosen(&self) -> Vec<(&'static Profile, Vec<Pass>)> {
        let is_wanted = |it: &&Profile| self.profile.is_none_or(|name| name == it.name);
        let passes = |it: &Profile| it.passes.iter().copied().filter(|it| self.is_pass(*it));
        let chosen = PROFILES.iter().filter(is_wanted);
        let chosen = chosen.map(|it| (it, passes(it).collect::<Vec<_>>()));
        chosen.filter(|(_, passes)| !passes.is_empty()).collect()
    }

    fn is_pass(&self, pass: Pass) -> bool {
        self.user.is_none_or(|user| user == pass.user)
            && self.suite.is_none_or(|suite| suite == pass.suite)
    }

    /// Returns the names that choose the tests of `pass`.
    pub(super) fn names_of(&self, pass: Pass) -> Vec<&'a str> {
        if self.names.is_empty() {
            pass.only.to_vec()
        } else {
            self.names.clone()
        }
    }

    /// Whether a run that finds no test is as good as none.
    pub(super) fn is_part(&self) -> bool {
        !self.names.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_are_chosen_by_profile_user_suite_and_name() {
        let all = Wanted::parse(&[]).unwrap();
        assert_eq!(all.chosen().len(), PROFILES.len());
        assert!(!all.is_part());
        let words = ["--as", "root", "--suite", "cli", "cgroup2", "bomb", "tmp"];
        let some = Wanted::parse(&words).unwrap();
        let chosen = some.chosen();
        let [(profile, passes)] = chosen.as_slice() else {
            panic!("one profile, not {chosen:?}");
        };
        assert_eq!(profile.name, "cgroup2");
        assert_eq!(passes.len(), 1);
        assert_eq!(some.names_of(passes[0]), ["bomb", "tmp"]);
        for wrong in [
            &["cgroup3"][..],
            &["--as", "bob"],
            &["--suite"],
            &["--kernel"],
            &["-x"],
        ] {
            assert!(Wanted::parse(wrong).is_none(), "{wrong:?}");
        }
    }
}
