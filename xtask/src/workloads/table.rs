//! The workloads: how each is prepared outside, and what is run.

/// Fetches and unpacks a Debian source package, with lists of our own: most machines have no `deb-src` line.
macro_rules! debian_source {
    ($name:literal) => {
        concat!(
            r#"
            . /etc/os-release
            key=/usr/share/keyrings/debian-archive-keyring.gpg
            test -e "$key" && mkdir -p "$CACHE/lists/partial"
            echo "deb-src [signed-by=$key] http://deb.debian.org/debian $VERSION_CODENAME main" > "$CACHE/sources.list"
            own="-o Dir::Etc::sourcelist=$CACHE/sources.list -o Dir::Etc::sourceparts=- -o Dir::State::lists=$CACHE/lists"
            (cd "$CACHE" && apt-get -q $own update && apt-get -q $own source --download-only "#,
            $name,
            r#")
            archive=$(ls "$CACHE"/"#,
            $name,
            r#"_*.orig.tar.* | grep -v 'asc$')
            mkdir source && tar xf "$archive" -C source --strip-components 1"#
        )
    };
}

/// One workload. Both texts are for bash; what has to be kept outside of the workspace is in `$CACHE`, tools that are
/// in our home are copied to `$TOOLS`, for another user's `PATH`.
pub(super) struct Workload {
    pub(super) name: &'static str,
    /// Fills the workspace; may ask registries. It fails where a tool is missing.
    pub(super) prepare: &'static str,
    pub(super) run: &'static str,
    /// Options of `run`, with `$CACHE`.
    pub(super) grants: &'static [&'static str],
}

pub(super) const WORKLOADS: &[Workload] = &[
    Workload {
        name: "Rust crate, vendored",
        prepare: r#"
            mkdir src .cargo
            printf '[package]\nname = "work"\nversion = "0.1.0"\nedition = "2021"\n[dependencies]\n' > Cargo.toml
            printf 'serde = { version = "1", features = ["derive"] }\nserde_json = "1"\nmemchr = "2"\n' >> Cargo.toml
            cat > src/lib.rs <<'END'
#[derive(serde::Serialize, serde::Deserialize, PartialEq, Debug)]
pub struct Point { pub x: i32, pub name: String }
#[test]
fn there_and_back() {
    let point = Point { x: 7, name: "p".into() };
    let text = serde_json::to_string(&point).unwrap();
    assert!(memchr::memchr(b'7', text.as_bytes()).is_some());
    assert_eq!(serde_json::from_str::<Point>(&text).unwrap(), point);
    let file = std::env::temp_dir().join("work");
    std::fs::write(&file, &text).unwrap();
    assert!(std::process::Command::new("cat").arg(&file).status().unwrap().success());
}
END
            cargo vendor > .cargo/config.toml 2> /dev/null
            grep -q vendored-sources .cargo/config.toml
            sysroot=$(rustc --print sysroot)
            mkdir "$TOOLS"
            cp -al "$sysroot/bin" "$sysroot/lib" "$TOOLS" 2> /dev/null || cp -a "$sysroot/bin" "$sysroot/lib" "$TOOLS""#,
        run: "env -u CARGO_TARGET_DIR cargo test --offline --frozen",
        grants: &[],
    },
    Workload {
        name: "npm package, mocha",
        prepare: r#"
            cat > package.json <<'END'
{"name": "work", "version": "1.0.0", "scripts": {"test": "mocha test.js"}, "dependencies": {"semver": "7"},
 "devDependencies": {"mocha": "10", "esbuild": "0.21"}}
END
            cat > test.js <<'END'
const assert = require("assert"), http = require("http"), child = require("child_process");
const { Worker } = require("worker_threads");
describe("work", () => {
  it("resolves", () => assert(require("semver").gt("2.0.0", "1.9.9")));
  it("bundles", () => assert(require("esbuild").transformSync("let a: number = 1", { loader: "ts" }).code));
  it("starts", () => assert.equal(child.execSync("echo x").toString(), "x\n"));
  it("works beside", (done) => { new Worker("process.exit(0)", { eval: true }).on("exit", () => done()); });
  it("serves", (done) => {
    const server = http.createServer((_, answer) => answer.end("y")).listen(0, "127.0.0.1", () =>
      http.get({ port: server.address().port, host: "127.0.0.1" }, (it) => { it.resume(); server.close(); done(); }));
  });
});
END
            npm install --silent --omit-lockfile-registry-resolved=false --cache "$CACHE"
            rm -rf node_modules"#,
        run: r#"npm ci --offline --cache "$CACHE" && npm test"#,
        grants: &["--read", "$CACHE"],
    },
    Workload {
        name: "Python venv, pytest",
        prepare: r#"
            python3 -m pip download -q -d wheels pytest
            cat > test_work.py <<'END'
import asyncio, ctypes, multiprocessing, socket, tempfile
def double(x): return 2 * x
def test_pool():
    with multiprocessing.get_context("spawn").Pool(2) as pool: assert pool.map(double, [1, 2]) == [2, 4]
def test_shared():
    from multiprocessing import shared_memory
    memory = shared_memory.SharedMemory(create=True, size=64); memory.close(); memory.unlink()
def test_socket():
    server = socket.create_server(("127.0.0.1", 0)); client = socket.create_connection(server.getsockname())
    server.accept()[0].sendall(b"x"); assert client.recv(1) == b"x"
def test_asyncio(): asyncio.run(asyncio.sleep(0))
def test_native(): assert ctypes.CDLL(None).getpid() > 0
def test_file():
    with tempfile.NamedTemporaryFile() as file: file.write(b"x")
END"#,
        run: "python3 -m venv .venv && .venv/bin/pip install -q --no-index --find-links wheels pytest && \
              .venv/bin/pytest -q -p no:cacheprovider",
        grants: &[],
    },
    Workload {
        name: "GNU Hello, configure, make",
        prepare: debian_source!("hello"),
        run: "cd source && ./configure -q && make -s -j2 && make -s check",
        grants: &[],
    },
    Workload {
        name: "Redis, its own tests",
        prepare: debian_source!("redis"),
        run: "cd source && make -s -j2 MALLOC=libc && ./runtest --single unit/type/hash --single unit/expire",
        grants: &[],
    },
    Workload {
        name: "Java, Maven offline",
        prepare: r#"
            mvn --version > /dev/null
            # Debian's repository of Maven, with links into /usr/share/java.
            cp -rL /usr/share/maven-repo "$CACHE/repository"
            newest() { ls "/usr/share/maven-repo/$1" | grep '^[0-9]' | sort -V | tail -1; }
            plugin() {
              echo "<plugin><artifactId>maven-$1-plugin</artifactId><version>$(newest org/apache/maven/plugins/maven-$1-plugin)</version></plugin>"
            }
            mkdir -p src/main/java src/test/java
            cat > pom.xml <<END
<project><modelVersion>4.0.0</modelVersion><groupId>work</groupId><artifactId>work</artifactId><version>1</version>
<properties><maven.compiler.source>8</maven.compiler.source><maven.compiler.target>8</maven.compiler.target>
<project.build.sourceEncoding>UTF-8</project.build.sourceEncoding></properties>
<dependencies><dependency><groupId>junit</groupId><artifactId>junit</artifactId><version>4.x</version>
<scope>test</scope></dependency></dependencies>
<build><plugins>$(plugin resources)$(plugin compiler)$(plugin surefire)$(plugin jar)</plugins></build></project>
END
            echo 'public class Work { public static int two() { return 2; } }' > src/main/java/Work.java
            echo 'public class WorkTest { @org.junit.Test public void two() { org.junit.Assert.assertEquals(2, Work.two()); } }' \
              > src/test/java/WorkTest.java"#,
        run: r#"mvn -q -o -B -Dmaven.repo.local="$CACHE/repository" package"#,
        grants: &["--read", "$CACHE"],
    },
];
