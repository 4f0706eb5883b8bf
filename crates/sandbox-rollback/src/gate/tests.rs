//! What the gate lets pass.

use std::path::Path;

use sandbox_types::{Change, ChangeKind, ViolationKind};

use super::{
    Gate, GateAction, GateError, GateOutcome, GateRule, LISTED_MAX, compile, covers, leads_to,
    leaves,
};
use crate::{
    Strip, Stripped, Survey,
    tests::{Lab, write},
};

/// What the guest does, in words and in deeds.
type Attack<'a> = (&'a str, &'a dyn Fn(&Path));

#[test]
fn declared_globs_cover_what_is_below_them() {
    let globs = ["out/*.txt".to_owned(), "./build/".to_owned()];
    let set = compile(&globs).unwrap();
    let covered = |path: &str| covers(&set, Path::new(path));
    assert!(covered("out/a.txt"));
    assert!(covered("build/deep/down.o"));
    assert!(!covered("out/deep/a.txt"));
    assert!(!covered("other"));
    assert!(leads_to(&globs, Path::new("out")));
    assert!(!leads_to(&globs, Path::new("outer")));
}

#[test]
fn links_are_followed_by_their_text_only() {
    let leaves =
        |link: &str, target: &str| leaves(Path::new(link), Path::new(target), Path::new("/work"));
    assert!(!leaves("a/b", "../c"));
    assert!(leaves("a/b", "../../c"));
    assert!(leaves("b", "/etc/passwd"));
    assert!(!leaves("b", "/work/x"));
    assert!(leaves("b", "/work/../etc"));
    assert!(leaves("b", "x/../../y"));
}

#[test]
fn no_glob_stands_for_the_whole_workspace_by_accident() {
    let check = |glob: &str| Gate::check(&["fine/**".to_owned(), glob.to_owned()]);
    for empty in ["", "/", "./", ".//"] {
        assert!(
            matches!(check(empty), Err(GateError::Empty { .. })),
            "{empty}"
        );
    }
    assert!(matches!(check("a["), Err(GateError::Glob { .. })));
    check("a/*.txt").unwrap();
    let set = compile(&["{,a}".to_owned()]).unwrap();
    assert!(covers(&set, Path::new("a/b")));
    assert!(
        !covers(&set, Path::new("b")),
        "the empty alternative covers nothing"
    );
}

#[test]
fn lists_stay_short_and_tell_how_much_is_missing() {
    let lab = Lab::new();
    let tx = lab.begin("op");
    let many = LISTED_MAX + 234;
    let path = |number: usize| Path::new("x").join(number.to_string()).join("Jenkinsfile");
    let survey = Survey {
        changes: (0..many)
            .map(|number| Change::new(path(number), ChangeKind::Created, 1))
            .collect(),
        strips: (0..many)
            .map(|number| Strip {
                path: path(number),
                what: Stripped::SetId,
            })
            .collect(),
        symlinks: (0..many)
            .map(|number| (path(number), "/etc/passwd".into()))
            .collect(),
        ..Survey::default()
    };
    let gate = Gate {
        declared: Some(vec!["other".to_owned()]),
        protected: GateAction::Hold,
        ..Gate::open()
    };
    let decision = gate.examine(&survey, &tx).unwrap();
    for kind in [ViolationKind::Filesystem, ViolationKind::DeclaredFiles] {
        let of_kind = decision.violations.iter().filter(|v| v.kind == kind);
        let details: Vec<_> = of_kind.map(|v| v.detail.as_str()).collect();
        assert_eq!(details.len(), LISTED_MAX + 1);
        assert_eq!(details.last(), Some(&"and 234 more"));
    }
    assert_eq!(decision.strips.len(), LISTED_MAX);
    let last = decision.notices.last().map(String::as_str);
    assert_eq!(last, Some("and 234 more"));
    assert_eq!(decision.notices.len(), 2 * (LISTED_MAX + 1));
    assert_eq!(decision.reasons.len(), LISTED_MAX + 2);
    let total = format!("{many} changed paths are not among the declared files");
    assert!(decision.reasons.contains(&total));
}

/// What git would take for its configuration, whatever stands there, is held.
#[test]
fn a_git_configuration_that_cannot_be_judged_is_held() {
    let hold = |make: &dyn Fn(&Path)| {
        let lab = Lab::new();
        lab.file(".git/HEAD", "ref");
        let tx = lab.begin("op");
        std::fs::create_dir_all(tx.upper().join(".git")).unwrap();
        make(tx.upper());
        let survey = tx.survey().unwrap();
        let gate = Gate {
            protected: GateAction::Hold,
            ..Gate::open()
        };
        gate.examine(&survey, &tx).unwrap().outcome
    };
    let link = |to: &str, at: &Path| std::os::unix::fs::symlink(to, at).unwrap();
    let long = "#".repeat(1 << 20) + "\n[core]\nfsmonitor = x\n";
    let cases: [Attack<'_>; 6] = [
        ("link", &|up| link("../conf", &up.join(".git/config"))),
        ("long", &|up| write(&up.join(".git/config"), &long)),
        ("hooks", &|up| link("../h", &up.join(".git/hooks"))),
        ("module", &|up| {
            link("../../c", &up.join(".git/modules"));
        }),
        ("file", &|up| write(&up.join("sub/.git"), "gitdir: ../g")),
        ("gitdir", &|up| link("g", &up.join("other.git"))),
    ];
    for (name, make) in cases {
        let expected = if name == "gitdir" {
            GateOutcome::Commit
        } else {
            GateOutcome::Hold
        };
        assert_eq!(hold(make), expected, "{name}");
    }
    let plain = hold(&|up| {
        write(&up.join(".git/config"), "[core]\nbare = false\n");
        std::fs::create_dir_all(up.join("new/.git/hooks")).unwrap();
    });
    assert_eq!(plain, GateOutcome::Commit);
}

/// A directory of any name is a repository to git once its last mark is there, in whichever order it is made.
#[test]
fn a_repository_of_any_name_is_looked_at() {
    let runs = "[core]\n\tbare = false\n\tfsmonitor = touch x\n";
    let notices = |files: &[(&str, &str)], before: &[(&str, &str)]| {
        let lab = Lab::new();
        for (path, text) in before {
            lab.file(path, text);
        }
        let tx = lab.begin("op");
        for (path, text) in files {
            std::fs::create_dir_all(tx.upper().join(path).parent().unwrap()).unwrap();
            write(&tx.upper().join(path), text);
        }
        let survey = tx.survey().unwrap();
        Gate::open().examine(&survey, &tx).unwrap().notices
    };
    let marks = [("lib/HEAD", "x"), ("lib/objects/x", ""), ("lib/refs/x", "")];
    let with = |text| [marks.as_slice(), &[("lib/config", text)]].concat();
    assert!(!notices(&with(runs), &[]).is_empty(), "all at once");
    assert!(!notices(&marks, &[("lib/config", runs)]).is_empty());
    assert!(!notices(&[("lib/config", runs)], &marks).is_empty());
    assert!(!notices(&[("lib/hooks/post-checkout", "")], &marks).is_empty());
    // Controls: nothing runs, and no repository.
    let none = Vec::<String>::new();
    assert_eq!(notices(&with("[core]\n\tbare = true\n"), &[]), none);
    assert_eq!(
        notices(&[("lib/config", runs), ("lib/HEAD", "")], &[]),
        none
    );
    assert_eq!(notices(&[("lib/hooks/post-checkout", "")], &[]), none);
}

#[test]
fn links_that_lead_out_meet_rules_of_their_class() {
    let lab = Lab::new();
    let tx = lab.begin("op");
    std::fs::create_dir_all(tx.upper()).unwrap();
    std::os::unix::fs::symlink("/etc/cron.d", tx.upper().join("cron")).unwrap();
    let survey = tx.survey().unwrap();
    let outcome = |action| {
        let rule = GateRule {
            paths: Vec::new(),
            classes: vec!["a link that leads out of the workspace".to_owned()],
            action,
            reason: "no".to_owned(),
        };
        rule.check().unwrap();
        let gate = Gate {
            rules: vec![rule],
            ..Gate::open()
        };
        let decision = gate.examine(&survey, &tx).unwrap();
        (decision.outcome, decision.notices.len())
    };
    assert_eq!(outcome(GateAction::Hold), (GateOutcome::Hold, 1));
    assert_eq!(outcome(GateAction::Discard), (GateOutcome::Discard, 1));
    assert_eq!(outcome(GateAction::Report), (GateOutcome::Commit, 1));
    assert_eq!(outcome(GateAction::Allow), (GateOutcome::Commit, 0));
}

#[test]
fn only_what_cannot_be_looked_at_is_held() {
    let lab = Lab::new();
    let tx = lab.begin("op");
    for path in ["plain", "sub/plain", ".git/config"] {
        write(&tx.upper().join(path), "[core]\n\tbare = false\n");
    }
    let survey = tx.survey().unwrap();
    let examine = || Gate::open().examine(&survey, &tx).unwrap();
    assert_eq!(examine().outcome, GateOutcome::Commit);
    let (upper, away) = (tx.upper().to_owned(), tx.upper().with_file_name("away"));
    std::fs::rename(&upper, &away).unwrap();
    let decision = examine();
    std::fs::rename(&away, &upper).unwrap();
    assert_eq!(decision.outcome, GateOutcome::Hold);
    let expected = [".git", ".git/config"].map(|path| {
        format!("'{path}' changed, and cannot be looked at: No such file or directory (os error 2)")
    });
    assert_eq!(decision.reasons, expected);
}
