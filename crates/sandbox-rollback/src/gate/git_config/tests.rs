//! What is read is what git reads, and what counts is what runs something.

use std::{
    path::Path,
    process::{Command, Stdio},
};

use proptest::prelude::*;

use super::{Doubts, Entry, doubts, entries};

const NONE: Doubts = Doubts::Of(Vec::new());

/// What `git config --list` sees in a text; nothing inside if git refuses it, nothing at all without git.
#[expect(
    clippy::disallowed_methods,
    reason = "git itself says what it reads and writes"
)]
#[expect(
    clippy::option_option,
    reason = "no git, refused by git, and a list are three things"
)]
fn seen_by_git(directory: &Path, text: &[u8]) -> Option<Option<Vec<Entry>>> {
    let file = directory.join("config");
    std::fs::write(&file, text).unwrap();
    let listed = Command::new("git")
        .args(["config", "--list", "--null", "--file"])
        .arg(&file)
        .current_dir(directory)
        .stderr(Stdio::null())
        .output()
        .ok()?;
    if !listed.status.success() {
        return Some(None);
    }
    let entries = listed
        .stdout
        .split(|it| *it == 0)
        .filter(|it| !it.is_empty());
    let entry = |text: &[u8]| {
        let mut halves = text.splitn(2, |it| *it == b'\n');
        Entry {
            name: halves.next().unwrap().to_owned(),
            value: halves.next().map(<[u8]>::to_owned),
        }
    };
    Some(Some(entries.map(entry).collect()))
}

/// Texts that try to look like something else. Those of the second list are refused by git.
const HOSTILE: &[&str] = &[
    "[core] fsmonitor = a]",
    "[filter \"]\"] clean = a",
    "[a][core]fsmonitor=a",
    "[a \"x\"][core]fsmonitor=a",
    "\u{feff}[core]\nfsmonitor=a",
    "[core]\nx = a\\\n[user]\nfsmonitor = a",
    "[core]\nx = \"a\\\n[user]\"\nfsmonitor = a",
    "[filter\r\"f\"]\n\tclean = evil\n",
    "[filter\r\n\"f\"]\n\tclean = evil\n",
    "[filter \t \"f\"]clean=evil",
    "[FILTER.F]\n\tCLEAN = evil\n",
    "[filter \"\\f\"]\nclean = evil",
    "[core]\n\tfsmonitor\t\t=\tevil # no\n",
    "[core]\n# [user]\nfsmonitor = evil",
    "[core]; [user]\nfsmonitor = evil",
    "[core]\nname = x ; \\\nfsmonitor = evil",
    "[user]\nname = \"x # y\" # z\\\n[core]\nfsmonitor = evil",
    "[user]name=a\\\\\n[core]fsmonitor=evil",
    "[user]name=\"a\\\"\"[core]\n[core]fsmonitor=evil",
    "[core]\r\nfsmonitor = evil\r\n",
    "[core]\rfsmonitor = evil",
    "[user]\nname = x\r[core]\nfsmonitor = evil\n",
    "[include]\npath = x",
    "[includeIf \"gitdir:/\"]\npath = x",
    "[include \"x\"]\npath = x",
    "[user.name]\nx = y",
    "[core]\nfsmonitor",
    "[core]\nfsmonitor =",
    "[core]\nfsmonitor = yes",
    "[core]\nhooksPath = \\\n",
    "[a.core]\nfsmonitor = evil",
    "[core.x]\nfsmonitor = evil",
    "fsmonitor = evil",
    "[ \"x\"]\nfsmonitor = evil",
    "[core \"\"]\nfsmonitor = evil",
    "[core]\nfsmonitor = a\\tb\\\\\\\"c",
];

const REFUSED: &[&str] = &[
    "[core",
    "[]\nfsmonitor = evil",
    "[core\n]",
    "[core \"x\ny\"]a=b",
    "[core \"x\" ]a=b",
    "[core x]a=b",
    "[co_re]a=b",
    "[core]\n1a=b",
    "[core]\na_b=c",
    "[core]\na b=c",
    "[core]\na = \"b",
    "[core]\na = \\q",
    "[core]\n=a",
    "[core]\na\r=b",
    "[core]\n\u{b}a=b",
    "[filter\u{b}\"f\"]clean=evil",
    "\u{feff}\u{feff}[core]",
    "]",
];

const ORDINARY: &[&str] = &[
    "",
    "\n\n",
    "# nothing\n; nothing",
    "# nothing",
    "[core]",
    "[core]\n\trepositoryformatversion = 0\n\tfilemode = true\n\tbare = false\n\tlogallrefupdates = true\n",
    "[remote \"origin\"]\n\turl = git@github.com:a/b.git\n\tfetch = +refs/heads/*:refs/remotes/origin/*\n",
    "[branch \"main\"]\n\tremote = origin\n\tmerge = refs/heads/main\n[branch \"a.b\"]\n\tremote = .\n",
    "[user]\n\tname = A \"B\" C\n\temail = a@b\n",
    "[user] name = \"  spaces  \" \n",
    "[url \"git@github.com:\"]\n\tinsteadOf = https://github.com/\n",
    "[submodule]\n\tactive = .\n[submodule \"x\"]\n\turl = https://h/x\n\tupdate = none\n",
    "[lfs]\n\trepositoryformatversion = 0\n[lfs \"https://h/a.git/info/lfs\"]\n\taccess = basic\n\tlocksverify = true\n",
    "[filter \"lfs\"]\n\tclean = git-lfs clean -- %f\n\tsmudge = git-lfs smudge -- %f\n\tprocess = git-lfs filter-process\n\trequired = true\n",
    "[core]\n\tfsmonitor = true\n[pager]\n\tdiff = false\n",
    "[color \"diff\"]\n\tmeta = yellow bold\n[merge]\n\tconflictstyle = zdiff3\n\ttool = vimdiff\n",
];

/// Settings that run a program, or lead to a file, a configuration or a transport that does.
#[rustfmt::skip]
const RUNNING: &[&str] = &[
    "core.fsmonitor=x", "core.hookspath=x", "core.sshcommand=x", "core.editor=x", "core.pager=x", "core.askpass=x",
    "core.gitproxy=x", "core.alternaterefscommand=x", "core.worktree=/", "core.attributesfile=x", "alias.st=status",
    "alias.x=!x", "pager.log=x", "filter.f.clean=x", "filter.f.smudge=x", "filter.f.process=x", "diff.external=x",
    "diff.d.command=x", "diff.d.textconv=x", "merge.m.driver=x", "merge.tool=../x", "credential.helper=x",
    "credential.https://h.helper=x", "gpg.program=x", "gpg.ssh.program=x", "gpg.x509.program=x",
    "gpg.ssh.defaultkeycommand=x", "sequence.editor=x", "difftool.t.cmd=x", "difftool.t.path=x", "mergetool.t.cmd=x",
    "mergetool.t.path=x", "include.path=x", "includeif.onbranch:x.path=x", "submodule.s.update=!x",
    "submodule.s.url=ext::x", "remote.o.url=ext::sh -c x", "remote.o.url=fd::17", "remote.o.url=odd://h",
    "remote.o.url=-x", "remote.o.url=ssh://-oProxyCommand=x/y", "remote.o.pushurl=ext::x", "remote.o.uploadpack=x",
    "remote.o.receivepack=x", "remote.o.vcs=ext", "branch.main.remote=ext::x", "branch.main.mergeoptions=-s x",
    "url.ext::x .insteadof=https://", "url.ext.insteadof=https", "url.ext:.insteadof=https:/", "interactive.difffilter=x",
    "trailer.t.command=x", "trailer.t.cmd=x", "tar.x.command=x", "browser.b.cmd=x", "browser.b.path=x", "man.m.cmd=x",
    "man.m.path=x", "guitool.g.cmd=x", "protocol.ext.allow=always", "protocol.allow=always", "gc.recentobjectshook=x",
    "init.templatedir=x", "uploadpack.packobjectshook=x", "web.browser=x", "help.browser=x", "instaweb.httpd=x",
    "instaweb.browser=x", "imap.tunnel=x", "sendemail.smtpserver=/x", "sendemail.tocmd=x", "sendemail.cccmd=x",
    "sendemail.headercmd=x", "receive.procreceiverefs=refs/", "receive.denycurrentbranch=updateInstead",
    "rebase.instructionformat=%s%nexec x", "pull.twohead=x", "lfs.customtransfer.x.path=x", "lfs.extension.x.clean=x",
    "lfs.url=ext::x", "gitflow.path.hooks=x", "filter.lfs.clean=git-lfs clean -- %f; x", "http.proxy=x",
    "http.sslverify=false", "extensions.refstorage=files://x", "gui.spellingdictionary=x", "commitgraph.x=y",
    "annex.command=x", "core.sharedrepository=0666", "core.fsmonitor=yes",
];

fn text_of(setting: &str) -> String {
    let (name, value) = setting.split_once('=').unwrap();
    let (section, key) = (
        &name[..name.find('.').unwrap()],
        &name[name.rfind('.').unwrap() + 1..],
    );
    let middle = &name[section.len()..name.len() - key.len()];
    match middle.trim_matches('.') {
        "" => format!("[{section}]\n\t{key} = \"{value}\"\n"),
        middle => format!("[{section} \"{middle}\"]\n\t{key} = \"{value}\"\n"),
    }
}

#[test]
fn what_is_read_is_what_git_reads() {
    let directory = tempfile::tempdir().unwrap();
    let running: Vec<_> = RUNNING.iter().map(|it| text_of(it)).collect();
    let all = [HOSTILE, REFUSED, ORDINARY].concat();
    for text in all.into_iter().chain(running.iter().map(String::as_str)) {
        let Some(seen) = seen_by_git(directory.path(), text.as_bytes()) else {
            println!("skipped: git is not installed");
            return;
        };
        assert_eq!(entries(text.as_bytes()), seen, "{text:?}");
    }
    for text in REFUSED {
        assert_eq!(entries(text.as_bytes()), None, "{text:?}");
    }
}

proptest! {
    #![proptest_config(crate::tests::cases(96))]
    /// Pieces in any order are read as git reads them.
    #[test]
    fn any_text_is_read_as_git_reads_it(pieces in prop::collection::vec(prop::sample::select(vec![
        "[core]", "[", "]", "\"", "\\", "\n", "\r", "\t", " ", "=", "#", ";", ".", "a", "B", "-", "1", "[a \"b\"]",
        "[x.y]", "k = v\n", "k\n", "\\\n", "\\n", "\\\"", "\u{feff}", "é", "\u{b}", "\n[s]\nk = ",
    ]), 0..14)) {
        let directory = tempfile::tempdir().unwrap();
        // Most of them should get beyond the first line.
        let text = format!("[s]\nk = {}", pieces.concat());
        for text in [text, pieces.concat()] {
            if let Some(seen) = seen_by_git(directory.path(), text.as_bytes()) {
                prop_assert_eq!(entries(text.as_bytes()), seen, "{:?}", text);
            }
        }
    }
}

#[test]
fn whatever_may_run_something_counts() {
    for text in HOSTILE.iter().chain(REFUSED) {
        assert_ne!(doubts(text.as_bytes()), NONE, "{text:?}");
    }
    for setting in RUNNING {
        let text = text_of(setting);
        let Doubts::Of(doubtful) = doubts(text.as_bytes()) else {
            panic!("{text:?} cannot be read");
        };
        assert_eq!(doubtful.len(), 1, "{text:?}");
    }
    assert_eq!(doubts(b"[user]\nname = a\0b\n"), Doubts::All);
}

#[test]
fn what_ordinary_work_writes_does_not_count() {
    for text in ORDINARY {
        assert_eq!(doubts(text.as_bytes()), NONE, "{text:?}");
    }
    for address in [
        "https://user@host/a.git",
        "http://h:80/x",
        "ssh://git@h:22/x",
        "git@h:x/y.git",
        "h:x",
        "/srv/a b.git",
        "../up",
        ".",
        "origin",
        "file:///srv/x",
        "git://h/x",
        "C:/x",
    ] {
        let text = text_of(&format!("remote.o.url={address}"));
        assert_eq!(doubts(text.as_bytes()), NONE, "{address}");
    }
}
