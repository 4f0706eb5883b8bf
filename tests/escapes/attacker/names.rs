//! A network with a name server that lies, and a client that believes it.

use std::{
    collections::BTreeMap,
    fs,
    io::{self, Read as _, Write as _},
    net::{Ipv4Addr, TcpListener, TcpStream, ToSocketAddrs as _, UdpSocket},
    path::Path,
    process::{Command, ExitCode},
    thread,
};

use crate::raw::call;

const PUBLIC: Ipv4Addr = Ipv4Addr::new(93, 184, 216, 34);
const PRIVATE: Ipv4Addr = Ipv4Addr::new(10, 9, 8, 7);
const PORT: u16 = 8080;

/// Runs a command in namespaces where both addresses are this machine's, and names are answered by us.
pub(super) fn world(arguments: &[&str]) -> ExitCode {
    let [names, program, arguments @ ..] = arguments else {
        return ExitCode::from(2);
    };
    if let Err(error) = enter(names) {
        eprintln!("no world: {error}");
        return ExitCode::from(3);
    }
    for (address, word) in [(PUBLIC, "public"), (PRIVATE, "private")] {
        let listener = TcpListener::bind((address, PORT)).expect("an address of ours");
        thread::spawn(move || {
            for mut client in listener.incoming().flatten() {
                let _gone = writeln!(client, "{word}");
            }
        });
    }
    let server = UdpSocket::bind((Ipv4Addr::LOCALHOST, 53)).expect("port 53 of our own network");
    thread::spawn(move || serve(&server));
    let status = Command::new(program).args(arguments).status();
    let code = status.ok().and_then(|it| it.code()).unwrap_or(1);
    ExitCode::from(u8::try_from(code).unwrap_or(1))
}

/// Connects to a name so many times, and prints what it hears.
pub(super) fn visit(arguments: &[&str]) {
    let [name, times] = arguments else {
        panic!("a name and a number");
    };
    for _ in 0..times.parse().expect("a number") {
        match hear(name) {
            Ok(heard) => print!("{heard}"),
            Err(error) => println!("{:?}", error.kind()),
        }
    }
}

fn hear(name: &str) -> io::Result<String> {
    let mut heard = String::new();
    let all = (name, PORT).to_socket_addrs()?;
    let first = all.into_iter().next().ok_or(io::ErrorKind::NotFound)?;
    TcpStream::connect(first)?.read_to_string(&mut heard)?;
    Ok(heard)
}

fn enter(names: &str) -> io::Result<()> {
    use std::os::unix::fs::MetadataExt as _;
    let own = fs::metadata("/proc/self")?;
    let (user, group) = (own.uid(), own.gid());
    let mut spaces = libc::CLONE_NEWNET | libc::CLONE_NEWNS;
    if user != 0 {
        spaces |= libc::CLONE_NEWUSER;
    }
    call(libc::SYS_unshare, &[usize::try_from(spaces).unwrap()])?;
    if user != 0 {
        fs::write("/proc/self/setgroups", "deny")?;
        fs::write("/proc/self/uid_map", format!("{user} {user} 1"))?;
        fs::write("/proc/self/gid_map", format!("{group} {group} 1"))?;
    }
    mount(None, Path::new("/"), libc::MS_REC | libc::MS_PRIVATE)?;
    mount(
        Some(Path::new(names)),
        Path::new("/etc/resolv.conf"),
        libc::MS_BIND,
    )?;
    for (interface, address) in [
        ("lo", Ipv4Addr::LOCALHOST),
        ("lo:0", PUBLIC),
        ("lo:1", PRIVATE),
    ] {
        give(interface, address)?;
    }
    Ok(())
}

fn mount(from: Option<&Path>, to: &Path, flags: libc::c_ulong) -> io::Result<()> {
    let text = |path: &Path| std::ffi::CString::new(path.to_str().unwrap()).unwrap();
    let from = from.map(text);
    let from = from.as_ref().map_or(0, |it| it.as_ptr().addr());
    let to = text(to);
    let flags = usize::try_from(flags).unwrap();
    call(libc::SYS_mount, &[from, to.as_ptr().addr(), 0, flags, 0]).map(drop)
}

/// Gives an address to a name of the loopback interface and turns it on: `netdevice(7)`.
fn give(interface: &str, address: Ipv4Addr) -> io::Result<()> {
    use std::os::fd::AsRawFd as _;
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
    let request = |value: &[u8]| {
        let mut request = [0_u8; 40];
        request[..interface.len()].copy_from_slice(interface.as_bytes());
        request[16..16 + value.len()].copy_from_slice(value);
        request
    };
    let family = u16::try_from(libc::AF_INET).unwrap().to_ne_bytes();
    let mut value = [0; 8];
    value[..2].copy_from_slice(&family);
    value[4..].copy_from_slice(&address.octets());
    let on = i16::try_from(libc::IFF_UP | libc::IFF_RUNNING)
        .unwrap()
        .to_ne_bytes();
    for (number, request) in [
        (libc::SIOCSIFADDR, request(&value)),
        (libc::SIOCSIFFLAGS, request(&on)),
    ] {
        let socket = usize::try_from(socket.as_raw_fd()).unwrap();
        let number = usize::try_from(number).unwrap();
        call(libc::SYS_ioctl, &[socket, number, request.as_ptr().addr()])?;
    }
    Ok(())
}

/// Answers questions for `A`: the first one of a name with the public address, all others with the private one.
fn serve(server: &UdpSocket) {
    let mut asked: BTreeMap<Vec<u8>, u32> = BTreeMap::new();
    let mut packet = [0; 512];
    while let Ok((length, client)) = server.recv_from(&mut packet) {
        let packet = &packet[..length];
        let end = 12
            + packet[12..]
                .iter()
                .position(|byte| *byte == 0)
                .expect("a name")
            + 5;
        let name = &packet[12..end - 4];
        let mut addresses = Vec::new();
        if packet[end - 4..end - 2] == [0, 1] {
            let count = asked.entry(name.to_ascii_lowercase()).or_default();
            *count += 1;
            addresses = match (name.get(1..5), *count) {
                (Some(b"both"), _) => vec![PRIVATE, PUBLIC],
                (Some(b"late"), _) => vec![PRIVATE],
                (_, 1) => vec![PUBLIC],
                _ => vec![PRIVATE],
            };
        }
        let mut reply = packet[..2].to_vec();
        let count = u8::try_from(addresses.len()).unwrap();
        reply.extend([0x81, 0x80, 0, 1, 0, count, 0, 0, 0, 0]);
        reply.extend(&packet[12..end]);
        for address in addresses {
            // The name of the question, A, IN, no time to live, four bytes.
            reply.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 0, 0, 4]);
            reply.extend(address.octets());
        }
        let _gone = server.send_to(&reply, client);
    }
}
