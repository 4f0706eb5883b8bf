//! Measures what the list of allowed hosts costs: 1 GiB through it and new connections a second, against the same
//! client outside, both to a server on loopback.
//!
//! ```sh
//! cargo run --release -p sandbox-isolation --example egress_speed
//! ```
#![expect(clippy::print_stdout, reason = "an example tells what it measures")]

use std::{
    ffi::OsString,
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    path::PathBuf,
    thread,
    time::Instant,
};

use sandbox_isolation::{
    BaseProfile, Cancellation, Confinement, KernelLauncher, LaunchPlan, Launcher as _, Observer,
    SeccompProfile, StdinSource, View, WorkspaceMode,
};
use sandbox_types::{AllowList, CgroupPaths, LimitKind, Limits, NetworkAccess, Stream};

type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

const GIB: u64 = 1 << 30;
const CONNECTIONS: u32 = 5_000;
const ROUNDS: u32 = 5;
/// Clients that connect at the same time.
const AT_ONCE: u32 = 8;

fn main() -> Outcome<()> {
    let words: Vec<String> = std::env::args().collect();
    if let [_, what, address] = words.as_slice() {
        println!("{}", client(what, address.parse()?)?);
        return Ok(());
    }
    let server = TcpListener::bind("127.0.0.1:0")?;
    let address = server.local_addr()?;
    // As many as there are clients: to start a thread for each connection would be most of what is measured.
    for _ in 0..AT_ONCE {
        let server = server.try_clone()?;
        thread::spawn(move || server.incoming().flatten().for_each(answer));
    }
    for (what, unit, amount) in [
        ("download", "MiB/s", 1024.0),
        ("connect", "/s", f64::from(CONNECTIONS)),
        ("connect-at-once", "/s", f64::from(CONNECTIONS)),
    ] {
        let (mut direct, mut through) = (Rounds::default(), Rounds::default());
        for _ in 0..ROUNDS {
            direct.add(amount, || client(what, address))?;
            through.add(amount, || confined(what, address))?;
        }
        println!(
            "{what}: direct {:.0} {unit}, allowed {:.0} {unit}, ratio {:.2}; by CPU time of client, server and \
             supervisor {:.0} and {:.0} for each second of a core, ratio {:.2}",
            median(&direct.by_wall),
            median(&through.by_wall),
            median(&through.by_wall) / median(&direct.by_wall),
            median(&direct.by_cpu),
            median(&through.by_cpu),
            median(&through.by_cpu) / median(&direct.by_cpu),
        );
    }
    Ok(())
}

/// What several rounds made, for each second.
#[derive(Default)]
struct Rounds {
    by_wall: Vec<f64>,
    /// Does not depend on what else the machine does.
    by_cpu: Vec<f64>,
}

impl Rounds {
    fn add(&mut self, amount: f64, run: impl FnOnce() -> Outcome<f64>) -> Outcome<()> {
        let before = cpu_seconds()?;
        self.by_wall.push(amount / run()?);
        self.by_cpu.push(amount / (cpu_seconds()? - before));
        Ok(())
    }
}

/// What this process and its children used: fields 14 to 17 of `proc_pid_stat(5)`, in hundredths of a second.
fn cpu_seconds() -> Outcome<f64> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    let (_, fields) = stat.rsplit_once(')').ok_or("no name in /proc/self/stat")?;
    let ticks = fields.split_whitespace().skip(11).take(4);
    let ticks: Vec<u32> = ticks.map(str::parse).collect::<Result<_, _>>()?;
    Ok(f64::from(ticks.iter().sum::<u32>()) / 100.0)
}

fn median(values: &[f64]) -> f64 {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default()
}

/// Sends as much as it is asked for: the request is a number of bytes.
fn answer(stream: TcpStream) {
    // A client that goes away has its answer.
    let _answered = try_answer(stream);
}

fn try_answer(mut stream: TcpStream) -> Option<()> {
    let mut wanted = [0; 8];
    stream.read_exact(&mut wanted).ok()?;
    let mut left = u64::from_le_bytes(wanted);
    let piece = vec![7; 256 * 1024];
    while left > 0 {
        let now = usize::try_from(left).unwrap_or(usize::MAX).min(piece.len());
        stream.write_all(piece.get(..now)?).ok()?;
        left -= now as u64;
    }
    Some(())
}

/// Returns how many seconds it took.
fn client(what: &str, address: SocketAddr) -> Outcome<f64> {
    let start = Instant::now();
    match what {
        "download" => ask(1, GIB, address)?,
        "connect" => ask(CONNECTIONS, 1, address)?,
        _ => {
            let clients =
                (0..AT_ONCE).map(|_| thread::spawn(move || ask(CONNECTIONS / AT_ONCE, 1, address)));
            for client in clients.collect::<Vec<_>>() {
                client.join().map_err(|_panic| "a client panicked")??;
            }
        }
    }
    Ok(start.elapsed().as_secs_f64())
}

/// Connects `times` times and takes so many bytes each time.
fn ask(times: u32, bytes: u64, address: SocketAddr) -> std::io::Result<()> {
    let mut buffer = vec![0; 256 * 1024];
    for _ in 0..times {
        let mut stream = TcpStream::connect(address)?;
        stream.write_all(&bytes.to_le_bytes())?;
        while stream.read(&mut buffer)? > 0 {}
    }
    Ok(())
}

/// The same client as a guest.
fn confined(what: &str, address: SocketAddr) -> Outcome<f64> {
    struct Heard(Vec<u8>);
    impl Observer for Heard {
        fn output(&mut self, _: Stream, bytes: &[u8]) {
            self.0.extend_from_slice(bytes);
        }
        fn tick(&mut self, _: &CgroupPaths) -> Option<LimitKind> {
            None
        }
    }
    let program = std::env::current_exe()?;
    let directory = tempfile::tempdir()?;
    let workspace: PathBuf = directory.path().canonicalize()?;
    let words = [
        program.display().to_string(),
        what.to_owned(),
        address.to_string(),
    ];
    let plan = LaunchPlan {
        name: "egress-speed".to_owned(),
        argv: words.map(OsString::from).to_vec(),
        env: Vec::new(),
        workspace_mode: WorkspaceMode::Direct,
        cwd: workspace.clone(),
        view: View {
            home: workspace.clone(),
            search_path: OsString::new(),
            toolchains: Vec::new(),
            secrets: Vec::new(),
            read: vec![program],
            write: Vec::new(),
            hide: Vec::new(),
        },
        workspace,
        network: NetworkAccess::Allow(AllowList::parse([address.to_string()])?),
        seccomp: SeccompProfile::built_in(BaseProfile::Default),
        confinement: Confinement::Namespaces,
        limits: Limits::default(),
        host_ids: 2_000_000,
        stdin: StdinSource::Empty,
    };
    let mut heard = Heard(Vec::new());
    let mut running = KernelLauncher::new().launch(plan)?;
    let ended = running.wait(&mut heard, &Cancellation::new())?;
    running.release()?;
    if !ended.exit.is_success() {
        return Err(format!("the client ended with {:?}", ended.exit).into());
    }
    Ok(String::from_utf8(heard.0)?.trim().parse()?)
}
