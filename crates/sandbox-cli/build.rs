//! Links the program without shared libraries, where the system has what that needs.
//!
//! `sandbox` starts, does a few milliseconds of work and ends, and loading shared libraries was a large part
//! of that. Decision 0016 tells what was measured and what it costs. Where something is missing, the program
//! is linked as any other.

use std::{
    env, fs, io,
    path::{Path, PathBuf},
    process::Command,
};

/// The libraries that rustc asks for by name, and what is linked instead. The last one has what the
/// others need: not every linker looks at an archive twice.
const LIBRARIES: [(&str, &str); 7] = [
    ("gcc_s", "INPUT(-l:libgcc_eh.a)"),
    ("util", "INPUT(-l:libc.a)"),
    ("rt", "INPUT(-l:libc.a)"),
    ("pthread", "INPUT(-l:libc.a)"),
    ("m", "INPUT(-l:libm.a)"),
    ("dl", "INPUT(-l:libc.a)"),
    ("c", "GROUP(-l:libc.a -l:libgcc_eh.a -l:libgcc.a)"),
];

/// What must be there.
const ARCHIVES: [&str; 4] = ["libc.a", "libm.a", "libgcc_eh.a", "libgcc.a"];

/// An archive without members is a few bytes long.
const EMPTY_ARCHIVE_BYTES_MAX: u64 = 1024;

fn main() -> io::Result<()> {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rustc-check-cfg=cfg(linked_statically)");
    let linker = variable("RUSTC_LINKER").unwrap_or_else(|| "cc".to_owned());
    let directory = variable("OUT_DIR").map(PathBuf::from);
    let (true, Some(archives), Some(directory)) = (is_ordinary(), archives(&linker), directory)
    else {
        return Ok(());
    };
    for archive in archives {
        println!("cargo::rerun-if-changed={}", archive.display());
    }
    for (name, script) in LIBRARIES {
        fs::write(directory.join(format!("lib{name}.so")), script)?;
    }
    for argument in ["-static-pie", &format!("-L{}", directory.display())] {
        println!("cargo::rustc-link-arg-bin=sandbox={argument}");
    }
    if variable("PROFILE").as_deref() == Some("release") {
        // Cargo forgets the profile's `strip` where a package has an override of its own: 2.3 MB of symbols.
        println!("cargo::rustc-link-arg-bin=sandbox=-Wl,--strip-all");
    }
    if knows_packed_relocations(&linker) {
        // A word for 63 addresses instead of three words for each: 0.35 MB of the program.
        println!("cargo::rustc-link-arg-bin=sandbox=-Wl,-z,pack-relative-relocs");
    }
    println!("cargo::rustc-cfg=linked_statically");
    Ok(())
}

/// Whether this is a build for this machine, with the GNU C library, by flags that say nothing of the like.
fn is_ordinary() -> bool {
    let is = |name: &str, wanted: &str| variable(name).as_deref() == Some(wanted);
    let features = variable("CARGO_CFG_TARGET_FEATURE").unwrap_or_default();
    is("CARGO_CFG_TARGET_OS", "linux")
        && is("CARGO_CFG_TARGET_ENV", "gnu")
        && variable("TARGET") == variable("HOST")
        && variable("CARGO_CFG_SANITIZE").is_none()
        && !features.split(',').any(|feature| feature == "crt-static")
}

/// Returns the archives, if the C compiler that links knows them all and `libc.a` has everything: before
/// glibc 2.34, threads were in an archive of their own, of which a static program gets only parts.
fn archives(linker: &str) -> Option<Vec<PathBuf>> {
    let threads = path_of(linker, "libpthread.a");
    let size = |path: PathBuf| fs::metadata(path).map_or(0, |it| it.len());
    if threads.is_some_and(|path| size(path) > EMPTY_ARCHIVE_BYTES_MAX) {
        return None;
    }
    ARCHIVES.iter().map(|name| path_of(linker, name)).collect()
}

/// Whether this C library's own start knows them: glibc does from 2.36 on. Linkers that do not know them say so, and
/// link without.
fn knows_packed_relocations(linker: &str) -> bool {
    let Some(header) = path_of(linker, "libc.a") else {
        return false;
    };
    // The text by which `libc.a` tells its version.
    let text = fs::read(header).unwrap_or_default();
    let name = b"stable release version ";
    let mut places = text.windows(name.len()).enumerate();
    let version = places.find(|(_, part)| part == name).and_then(|(at, _)| {
        let rest = text.get(at + name.len()..)?;
        let rest = std::str::from_utf8(rest.get(..8)?).ok()?;
        let (major, minor) = rest.split_once('.')?;
        let digits = minor.split(|it: char| !it.is_ascii_digit()).next()?;
        Some((major.parse::<u32>().ok()?, digits.parse::<u32>().ok()?))
    });
    version.is_some_and(|version| version >= (2, 36))
}

fn path_of(linker: &str, archive: &str) -> Option<PathBuf> {
    #[expect(clippy::disallowed_methods, reason = "the C compiler, at build time")]
    let mut command = Command::new(linker);
    let output = command
        .arg(format!("-print-file-name={archive}"))
        .output()
        .ok()?;
    let path = String::from_utf8(output.stdout).ok()?;
    // One that it does not know is printed as it was asked for.
    let path = Path::new(path.trim());
    path.is_absolute().then(|| path.to_owned())
}

fn variable(name: &str) -> Option<String> {
    #[expect(
        clippy::disallowed_methods,
        reason = "how cargo talks to a build script"
    )]
    env::var(name).ok()
}
