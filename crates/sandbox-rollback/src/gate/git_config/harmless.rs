//! Settings of git that run nothing, whatever their value or with the values that are named: git-config(1), and what
//! hosts' and editors' tools write there.

use super::Entry;

/// What a section may have between its name and its key.
enum Sub {
    /// Nothing.
    None,
    /// Anything, or nothing.
    Any,
    /// One of these.
    Named(&'static [&'static str]),
    /// The beginning of an ordinary address, which says by itself how git reaches it.
    Base,
}

/// Which values run nothing.
enum Values {
    Any,
    /// True, false or nothing, of all the ways to write them: others may be taken for a command by some key or version.
    Switch,
    /// A word that cannot lead to a file.
    Word,
    /// An address or the name of a remote, with a transport that is git's own.
    Address,
    Of(&'static [&'static str]),
}

/// The keys in lower case; `*` is all.
type Row = (&'static str, Sub, Values, &'static [&'static str]);

/// What `git lfs install` writes.
const LFS_CLEAN: &[&str] = &["git-lfs clean -- %f"];
const LFS_SMUDGE: &[&str] = &["git-lfs smudge -- %f", "git-lfs smudge --skip -- %f"];
const LFS_PROCESS: &[&str] = &["git-lfs filter-process", "git-lfs filter-process --skip"];

/// Transports that git brings along.
const SCHEMES: [&str; 9] = [
    "https", "http", "ssh", "git", "file", "ftp", "ftps", "git+ssh", "ssh+git",
];

#[rustfmt::skip]
const HARMLESS: &[Row] = &[
    ("core", Sub::None, Values::Any, &[
        "repositoryformatversion", "filemode", "bare", "logallrefupdates", "ignorecase", "symlinks",
        "precomposeunicode", "autocrlf", "eol", "safecrlf", "abbrev", "quotepath", "commentchar", "commentstring",
        "compression", "loosecompression", "bigfilethreshold", "checkstat", "trustctime", "untrackedcache",
        "splitindex", "preloadindex", "sparsecheckout", "sparsecheckoutcone", "commitgraph", "multipackindex",
        "whitespace", "hidedotfiles", "longpaths", "notesref", "packedgitlimit", "packedgitwindowsize",
        "deltabasecachelimit", "maxtreedepth", "fsync", "fsyncmethod", "fsyncobjectfiles", "warnambiguousrefs",
        "filesreflocktimeout", "packedrefstimeout", "fscache", "checkroundtripencoding",
    ]),
    // Git's own watcher; every other value is a command.
    ("core", Sub::None, Values::Switch, &["fsmonitor"]),
    ("extensions", Sub::None, Values::Any, &[
        "worktreeconfig", "objectformat", "compatobjectformat", "preciousobjects", "noop", "relativeworktrees",
    ]),
    ("extensions", Sub::None, Values::Of(&["files", "reftable"]), &["refstorage"]),
    ("extensions", Sub::None, Values::Address, &["partialclone"]),
    ("user", Sub::None, Values::Any, &["name", "email", "signingkey", "useconfigonly"]),
    ("author", Sub::None, Values::Any, &["name", "email"]),
    ("committer", Sub::None, Values::Any, &["name", "email"]),
    ("branch", Sub::Any, Values::Any, &[
        "merge", "rebase", "description", "autosetupmerge", "autosetuprebase", "sort",
        "vscode-merge-base", "github-pr-owner-number", "gh-merge-base",
    ]),
    ("branch", Sub::Any, Values::Address, &["remote", "pushremote"]),
    ("remote", Sub::Any, Values::Address, &["url", "pushurl", "pushdefault"]),
    ("remote", Sub::Any, Values::Any, &[
        "fetch", "push", "mirror", "prune", "prunetags", "tagopt", "skipdefaultupdate", "skipfetchall", "promisor",
        "partialclonefilter", "followremotehead", "gh-resolved",
    ]),
    ("url", Sub::Base, Values::Any, &["insteadof", "pushinsteadof"]),
    ("submodule", Sub::Any, Values::Address, &["url"]),
    ("submodule", Sub::Any, Values::Of(&["checkout", "rebase", "merge", "none"]), &["update"]),
    ("submodule", Sub::Any, Values::Any, &[
        "active", "branch", "ignore", "fetchrecursesubmodules", "recurse", "fetchjobs", "propagatebranches",
        "alternateerrorstrategy", "alternatelocation", "shallow",
    ]),
    ("filter", Sub::Named(&["lfs"]), Values::Of(LFS_CLEAN), &["clean"]),
    ("filter", Sub::Named(&["lfs"]), Values::Of(LFS_SMUDGE), &["smudge"]),
    ("filter", Sub::Named(&["lfs"]), Values::Of(LFS_PROCESS), &["process"]),
    ("filter", Sub::Any, Values::Switch, &["required"]),
    ("lfs", Sub::None, Values::Address, &["url", "pushurl"]),
    ("lfs", Sub::Any, Values::Any, &[
        "repositoryformatversion", "locksverify", "access", "fetchinclude", "fetchexclude", "concurrenttransfers",
    ]),
    ("color", Sub::Any, Values::Any, &["*"]),
    ("advice", Sub::None, Values::Any, &["*"]),
    ("column", Sub::None, Values::Any, &["*"]),
    ("feature", Sub::None, Values::Any, &["*"]),
    ("i18n", Sub::None, Values::Any, &["*"]),
    ("index", Sub::None, Values::Any, &["*"]),
    ("status", Sub::None, Values::Any, &["*"]),
    ("stash", Sub::None, Values::Any, &["*"]),
    ("rerere", Sub::None, Values::Any, &["enabled", "autoupdate"]),
    ("init", Sub::None, Values::Any, &["defaultbranch", "defaultobjectformat", "defaultrefformat"]),
    ("pull", Sub::None, Values::Any, &["ff", "rebase"]),
    ("push", Sub::None, Values::Any, &[
        "default", "followtags", "autosetupremote", "gpgsign", "negotiate", "recursesubmodules", "useforceifincludes",
        "usebitmaps",
    ]),
    ("fetch", Sub::None, Values::Any, &[
        "all", "prune", "prunetags", "parallel", "output", "recursesubmodules", "showforcedupdates", "fsckobjects",
        "unpacklimit", "writecommitgraph", "negotiationalgorithm",
    ]),
    ("transfer", Sub::None, Values::Any, &["fsckobjects", "unpacklimit", "credentialsinurl"]),
    ("receive", Sub::None, Values::Any, &["fsckobjects", "denynonfastforwards", "denydeletes"]),
    ("merge", Sub::None, Values::Any, &[
        "conflictstyle", "ff", "log", "stat", "renames", "renamelimit", "directoryrenames", "renormalize", "autostash",
        "branchdesc", "defaulttoupstream", "verbosity", "verifysignatures",
    ]),
    ("merge", Sub::None, Values::Word, &["tool", "guitool"]),
    ("merge", Sub::Any, Values::Any, &["name"]),
    ("mergetool", Sub::None, Values::Any, &["prompt", "keepbackup", "keeptemporaries", "hideresolved", "writetotemp"]),
    ("diff", Sub::None, Values::Any, &[
        "algorithm", "autorefreshindex", "colormoved", "colormovedws", "context", "dirstat", "ignoresubmodules",
        "indentheuristic", "interhunkcontext", "mnemonicprefix", "noprefix", "srcprefix", "dstprefix", "relative",
        "renamelimit", "renames", "statgraphwidth", "statnamewidth", "submodule", "suppressblankempty",
        "wserrorhighlight",
    ]),
    ("diff", Sub::None, Values::Word, &["tool", "guitool"]),
    ("diff", Sub::Any, Values::Any, &["binary", "cachetextconv", "wordregex", "xfuncname", "trustexitcode"]),
    ("difftool", Sub::None, Values::Any, &["prompt", "trustexitcode", "guidefault"]),
    ("rebase", Sub::None, Values::Any, &[
        "autosquash", "autostash", "updaterefs", "stat", "forkpoint", "missingcommitscheck", "abbreviatecommands",
        "rebasemerges",
    ]),
    ("rebase", Sub::None, Values::Word, &["backend"]),
    ("commit", Sub::None, Values::Any, &["gpgsign", "verbose", "status", "cleanup"]),
    ("tag", Sub::None, Values::Any, &["sort", "gpgsign", "forcesignannotated"]),
    ("gpg", Sub::None, Values::Of(&["openpgp", "x509", "ssh"]), &["format"]),
    ("log", Sub::None, Values::Any, &[
        "abbrevcommit", "date", "decorate", "diffmerges", "follow", "graphcolors", "mailmap", "showroot",
    ]),
    ("format", Sub::None, Values::Any, &["pretty", "signoff", "numbered", "thread", "subjectprefix", "from"]),
    ("blame", Sub::None, Values::Any, &["date", "coloring", "showemail", "showroot", "blankboundary"]),
    ("grep", Sub::None, Values::Any, &[
        "column", "extendedregexp", "fullname", "linenumber", "patterntype", "threads",
    ]),
    ("apply", Sub::None, Values::Any, &["whitespace", "ignorewhitespace"]),
    ("am", Sub::None, Values::Any, &["keepcr", "threeway"]),
    ("checkout", Sub::None, Values::Any, &["guess", "workers", "thresholdforparallelism"]),
    ("checkout", Sub::None, Values::Address, &["defaultremote"]),
    ("clone", Sub::None, Values::Any, &["rejectshallow"]),
    ("clean", Sub::None, Values::Any, &["requireforce"]),
    ("add", Sub::None, Values::Any, &["ignoreerrors", "ignore-errors"]),
    ("interactive", Sub::None, Values::Any, &["singlekey"]),
    ("worktree", Sub::None, Values::Any, &["guessremote", "userelativepaths"]),
    ("versionsort", Sub::None, Values::Any, &["suffix"]),
    ("protocol", Sub::None, Values::Any, &["version"]),
    ("http", Sub::None, Values::Any, &["postbuffer", "version", "lowspeedlimit", "lowspeedtime", "maxrequests"]),
    ("gc", Sub::Any, Values::Any, &["reflogexpire", "reflogexpireunreachable"]),
    ("gc", Sub::None, Values::Any, &[
        "auto", "autodetach", "autopacklimit", "aggressivedepth", "aggressivewindow", "bigpackthreshold", "cruftpacks",
        "logexpiry", "packrefs", "pruneexpire", "rerereresolved", "rerereunresolved", "worktreepruneexpire",
        "writecommitgraph",
    ]),
    ("maintenance", Sub::Any, Values::Any, &["auto", "autodetach", "enabled", "schedule", "strategy"]),
    ("pack", Sub::None, Values::Any, &[
        "compression", "depth", "window", "windowmemory", "threads", "packsizelimit", "deltacachesize",
        "deltacachelimit", "indexversion", "usebitmaps", "usesparse", "writereverseindex",
    ]),
    ("repack", Sub::None, Values::Any, &["writebitmaps", "updateserverinfo", "usedeltabaseoffset"]),
    ("pager", Sub::None, Values::Switch, &["*"]),
    ("gitflow", Sub::Named(&["branch", "prefix"]), Values::Any, &["*"]),
];

/// Returns whether a setting is known to run nothing.
pub(super) fn is_harmless(entry: &Entry) -> bool {
    let (section, middle, key) = entry.parts();
    let fits = |(name, sub, values, keys): &&Row| {
        name.as_bytes() == section
            && keys.iter().any(|it| *it == "*" || it.as_bytes() == key)
            && sub.takes(middle)
            && values.take(entry.value.as_deref())
    };
    HARMLESS.iter().any(|row| fits(&row))
}

impl Sub {
    fn takes(&self, middle: Option<&[u8]>) -> bool {
        match (self, middle) {
            (Self::Any, _) | (Self::None, None) => true,
            (Self::Named(names), Some(middle)) => names.iter().any(|it| it.as_bytes() == middle),
            (Self::Base, Some(middle)) => is_base(middle),
            (Self::None, Some(_)) | (Self::Named(_) | Self::Base, None) => false,
        }
    }
}

impl Values {
    fn take(&self, value: Option<&[u8]>) -> bool {
        let of = |all: &[&str]| value.is_some_and(|it| all.iter().any(|all| all.as_bytes() == it));
        match self {
            Self::Any => true,
            Self::Switch => of(&["true", "false"]),
            Self::Word => value.is_some_and(is_word),
            Self::Address => value.is_none_or(is_address),
            Self::Of(all) => of(all),
        }
    }
}

fn is_word(value: &[u8]) -> bool {
    let plain = |it: &u8| it.is_ascii_alphanumeric() || matches!(it, b'_' | b'-');
    !value.starts_with(b"-") && value.iter().all(plain)
}

/// Returns whether git reaches an address without the help of another program: `ext::` runs what follows it, and what
/// is before a `::` or an unknown `://` names a program.
fn is_address(value: &[u8]) -> bool {
    if value.starts_with(b"-") || value.iter().any(u8::is_ascii_control) {
        return false;
    }
    let scheme_end = value.iter().position(|it| !is_of_scheme(*it));
    let (scheme, rest) = value.split_at(scheme_end.unwrap_or(value.len()));
    if rest.starts_with(b"::") {
        return false;
    }
    match find(value, b"://") {
        None => true,
        Some(at) => {
            let host = &value[at + 3..];
            at == scheme.len() && is_known(scheme) && !host.starts_with(b"-")
        }
    }
}

/// Returns whether an address that begins so has git's own transport, whatever follows.
fn is_base(base: &[u8]) -> bool {
    let is_whole = find(base, b"://").is_some()
        || base.starts_with(b"/")
        || base.starts_with(b".")
        || base
            .iter()
            .position(|it| !is_of_scheme(*it))
            .is_some_and(|at| base[at] == b'@');
    is_whole && is_address(base)
}

fn is_known(scheme: &[u8]) -> bool {
    SCHEMES.iter().any(|it| it.as_bytes() == scheme)
}

fn is_of_scheme(it: u8) -> bool {
    it.is_ascii_alphanumeric() || matches!(it, b'+' | b'-' | b'.')
}

fn find(text: &[u8], wanted: &[u8]) -> Option<usize> {
    text.windows(wanted.len()).position(|it| it == wanted)
}
