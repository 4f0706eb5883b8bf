//! What a file system promises holds inside of a transaction as outside, and the known differences of an
//! overlay are those that docs/reference/overlay-differences.md lists.

use std::{fs, os::unix::fs::MetadataExt as _, process::Command};

use crate::lab::Lab;

/// Each line is one check, done in a directory that holds `old/in/file`, `file` and `link`: what it
/// prints is the same inside and outside. The names are those of the system calls that are asked.
const CHECKS: &str = r#"
say() { name=$1; shift; out=$("$@" 2>&1); printf '%s: %s %s\n' "$name" "$?" "$out"; }
p() { perl -MErrno -MFcntl=:DEFAULT,:flock -e '$SIG{__DIE__}=sub{}; '"$1"; }
say open.creat p 'sysopen(F,"n1",O_CREAT|O_EXCL|O_WRONLY,0640) or print $!+0'
say open.excl p 'sysopen(F,"n1",O_CREAT|O_EXCL|O_WRONLY) or print $!+0'
say open.directory p 'sysopen(F,"old",O_WRONLY) or print $!+0'
say open.nofollow p 'sysopen(F,"link",O_RDONLY|O_NOFOLLOW) or print $!+0'
say open.trunc p 'open(F,">","file"); print -s "file"'
say open.append sh -c 'echo a >> file; echo b >> file; cat file'
say mode stat -c %a n1
say umask sh -c 'umask 027; touch n2; mkdir d2; stat -c %a n2 d2'
say chmod sh -c 'chmod 751 old/in; stat -c %a old/in'
say chmod.sticky sh -c 'chmod 1777 d2; stat -c %a d2'
say mkdir.exists p 'mkdir("old") or print $!+0'
say mkdir.parent p 'mkdir("none/x") or print $!+0'
say rmdir.full p 'rmdir("old") or print $!+0'
say rmdir.file p 'rmdir("file") or print $!+0'
say unlink.directory p 'unlink("old") or print $!{EISDIR}||$!{EPERM}?1:0'
say unlink.none p 'unlink("none") or print $!+0'
say link p 'link("file","hard") or print $!+0; print((stat "hard")[3])'
say link.exists p 'link("file","hard") or print $!+0'
say link.same sh -c 'echo more >> hard; cmp file hard && echo same'
say symlink p 'symlink("nowhere","dangling"); print readlink "dangling"'
say symlink.exists p 'symlink("x","dangling") or print $!+0'
say symlink.loop sh -c 'ln -s loop loop; cat loop 2> /dev/null; echo $?'
say rename.file p 'rename("n1","n3") or print $!+0; print -e "n3" ? "there":"gone"'
say rename.over sh -c 'echo over > n4; mv n4 n3; cat n3'
say rename.none p 'rename("none","x") or print $!+0'
say rename.into p 'rename("d2","d2/in") or print $!+0'
say rename.notempty p 'mkdir "d3"; rename("d3","old") or print $!{ENOTEMPTY}||$!{EEXIST} ? "not empty" : $!+0'
say rename.new-directory p 'mkdir "d4"; rename("d4","d5") or print $!+0; print -d "d5" ? "there":"gone"'
say rename.filedir p 'rename("n3","d5") or print $!+0'
say truncate p 'truncate("file",100000); print -s "file"'
say truncate.back p 'truncate("file",3); print -s "file"'
say sparse p 'open(F,">","hole"); sysseek(F,5000000,0); syswrite(F,"x"); close F; print -s "hole"'
say utimes p 'utime(1000000000,1100000000,"file"); print join ",",(stat "file")[8,9]'
say utimes.before p 'utime(-5,-10,"file"); print((stat "file")[9])'
say fifo sh -c 'mkfifo pipe; (echo through > pipe &) ; cat pipe; rm pipe'
say flock p 'open(A,">","lk"); open(B,">","lk"); flock(A,LOCK_EX); print flock(B,LOCK_EX|LOCK_NB) ? "both":"one"'
say unlinked p 'open(F,"+>","u"); unlink "u"; syswrite(F,"kept"); sysseek(F,0,0); sysread(F,$b,9); print $b'
say readdir sh -c 'ls -A old old/in'
say replaced sh -c 'rm -r old; mkdir old; touch old/new; ls -A old'
say type sh -c 'rm -r d5; echo f > d5; rm d5; mkdir d5; stat -c %F d5'
say longname p '$n="n"x255; open(F,">",$n) or print $!+0; print -e $n ? 1:0; open(F,">","n"x256) or print " ",$!+0'
say bytes p '$n="a\xff\nb"; open(F,">",$n) or print $!+0; print -e $n ? 1:0; unlink $n'
say deep sh -c 'd=.; for i in 1 2 3 4 5 6 7 8 9; do d=$d/d; mkdir $d; done; find d | wc -l'
say many sh -c 'mkdir many; for i in $(seq 300); do : > many/$i; done; ls many | wc -l; rm many/1*; ls many | wc -l'
"#;

fn prepare(lab: Lab) -> Lab {
    let lab = lab.file("old/in/file", "text").file("file", "text\n");
    std::os::unix::fs::symlink("file", lab.workspace().join("link")).unwrap();
    lab
}

fn outside(lab: &Lab) -> String {
    let output = Command::new("sh")
        .arg("-c")
        .arg(CHECKS)
        .current_dir(lab.workspace())
        .output()
        .unwrap();
    String::from_utf8(output.stdout).unwrap()
}

fn has(program: &str) -> bool {
    let found = Command::new(program).arg("--version").output().is_ok();
    if !found {
        eprintln!("SKIPPED: there is no {program}");
    }
    found
}

fn stdout(report: &serde_json::Value) -> String {
    assert_eq!(report["outcome"], "completed", "{report:#}");
    report["stdout"]["text"].as_str().unwrap().to_owned()
}

#[test]
fn what_posix_promises_holds_inside_as_outside() {
    if !has("perl") {
        return;
    }
    let (plain, lab) = (prepare(Lab::new()), prepare(Lab::new()));
    let before = lab.tree();
    let expected = outside(&plain);
    assert!(expected.lines().count() > 50, "{expected}");
    let found = stdout(&lab.run(CHECKS));
    let differing: Vec<_> = expected
        .lines()
        .zip(found.lines())
        .filter(|(outside, inside)| outside != inside)
        .collect();
    assert!(differing.is_empty(), "outside and inside: {differing:#?}");
    assert_eq!(expected.lines().count(), found.lines().count());
    // And what it left is the same too, but for times and owners.
    let facts = |lab: &Lab| -> Vec<_> {
        let tree = lab.tree().into_iter();
        tree.map(|(path, it)| (path, it.0, it.5)).collect()
    };
    assert_eq!(facts(&plain), facts(&lab));
    lab.sandbox(&["undo"]).code(0);
    assert_eq!(lab.tree(), before);
}

/// rename(2) of a directory that was there before is refused; who falls back to copying works.
#[test]
fn renaming_an_older_directory_is_a_copy() {
    if !has("perl") {
        return;
    }
    let rename = r#"perl -e 'rename("dir","moved") or print $!{EXDEV} ? "EXDEV" : $!' -MErrno"#;
    let lab = Lab::new().file("dir/a", "a");
    assert_eq!(stdout(&lab.run(rename)), "EXDEV");
    assert_eq!(stdout(&lab.run("mv dir moved && cat moved/a")), "a");
    // The control: one that was made inside.
    let lab = Lab::new();
    assert_eq!(
        stdout(&lab.run(&format!("mkdir dir; {rename}; test -d moved"))),
        ""
    );
}

/// A write through one name of an older file does not show under the other.
#[test]
fn older_hard_links_are_parted_by_a_write() {
    let lab = Lab::new().file("a", "old");
    fs::hard_link(lab.workspace().join("a"), lab.workspace().join("b")).unwrap();
    assert_eq!(stdout(&lab.run("printf new > a; cat b")), "old");
    assert_eq!(lab.read("b").as_deref(), Some("old"));
    // The control: two names that were made inside.
    assert_eq!(
        stdout(&lab.run("echo x > c; ln c d; printf new > c; cat d")),
        "new"
    );
}

#[test]
fn numbers_of_directories_and_changed_files_differ() {
    let lab = Lab::new().file("dir/sub/a", "a").file("file", "old");
    let links = fs::metadata(lab.workspace().join("dir")).unwrap().nlink();
    let inode = |path: &str| fs::metadata(lab.workspace().join(path)).unwrap().ino();
    let old = inode("file");
    let report = lab.run("touch dir/new; stat -c %h dir; echo new > file");
    assert_eq!(stdout(&report).trim(), "1", "outside it is {links}");
    assert_ne!(
        inode("file"),
        old,
        "a changed file is another one after the commit"
    );
}

#[test]
fn marks_of_an_overlay_are_not_kept() {
    if !has("setfattr") {
        return;
    }
    let lab = Lab::new().file("a", "a");
    let report =
        lab.run("setfattr -n user.overlay.opaque -v y a; setfattr -n user.mine -v 1 a; echo $?");
    assert_eq!(stdout(&report), "0\n");
    assert_eq!(
        report["violations"].as_array().unwrap().len(),
        1,
        "{report:#}"
    );
}

/// A database with a write-ahead log in shared memory, with two connections at once.
#[test]
fn sqlite_in_wal_mode_works_inside() {
    if !has("sqlite3") {
        return;
    }
    let lab = Lab::new();
    let create = "PRAGMA journal_mode=WAL; CREATE TABLE t(x); INSERT INTO t VALUES (1);";
    let made = Command::new("sqlite3")
        .args(["base.db", create])
        .current_dir(lab.workspace())
        .status();
    assert!(made.unwrap().success());
    let report = lab.run(
        "for i in 1 2; do (for j in $(seq 20); do
             sqlite3 -cmd '.timeout 20000' base.db 'INSERT INTO t VALUES (2)' || echo failed; done) & done; wait
         sqlite3 base.db 'PRAGMA integrity_check; SELECT count(*) FROM t; PRAGMA journal_mode'",
    );
    assert_eq!(stdout(&report), "ok\n41\nwal\n");
    let found = {
        let output = Command::new("sqlite3")
            .args(["base.db", "PRAGMA integrity_check; SELECT count(*) FROM t"])
            .current_dir(lab.workspace())
            .output();
        String::from_utf8(output.unwrap().stdout).unwrap()
    };
    assert_eq!(found, "ok\n41\n");
}

#[test]
fn npm_installs_inside_and_undo_takes_it_away() {
    if !has("npm") {
        return;
    }
    let lab = Lab::new()
        .file("dep/package.json", r#"{"name": "dep", "version": "1.0.0"}"#)
        .file("dep/index.js", "module.exports = 42;")
        .file(
            "package.json",
            r#"{"name": "main", "version": "1.0.0", "dependencies": {"dep": "file:dep"}}"#,
        )
        .file(
            "package-lock.json",
            r#"{"name": "main", "version": "1.0.0", "lockfileVersion": 3, "requires": true, "packages": {
                "": {"name": "main", "version": "1.0.0", "dependencies": {"dep": "file:dep"}},
                "dep": {"version": "1.0.0"},
                "node_modules/dep": {"resolved": "dep", "link": true}}}"#,
        );
    let before = lab.tree();
    let report = lab.run(
        "npm ci --offline --no-audit --no-fund --silent && node -e 'console.log(require(\"dep\"))'",
    );
    assert_eq!(stdout(&report), "42\n");
    assert!(lab.workspace().join("node_modules/dep/index.js").exists());
    lab.sandbox(&["undo"]).code(0);
    assert_eq!(lab.tree(), before);
}
