//! The clients: what each runs, and what must come of it.

/// One client.
pub(super) struct Client {
    pub(super) name: &'static str,
    /// Prints its version; nothing if it is not installed.
    pub(super) version: &'static str,
    /// Run by bash inside, with `$NAME`, `$HTTP`, `$HTTPS`, `$HTTP2`, `$PORT` and `ca.pem`.
    pub(super) script: &'static str,
    /// What it must print.
    pub(super) prints: &'static str,
    /// What a violation in the report must name, if any.
    pub(super) refused: &'static str,
}

const CURL: &str = "curl --version | cut -d' ' -f1-2";
const PYTHON: &str = "/usr/bin/python3 --version";
const NODE: &str = "node --version";

const fn reaches(
    name: &'static str,
    version: &'static str,
    script: &'static str,
    prints: &'static str,
) -> Client {
    Client {
        name,
        version,
        script,
        prints,
        refused: "",
    }
}

/// A client that must not get through: its script succeeds if it is refused, and prints `refused`.
const fn is_refused(
    name: &'static str,
    version: &'static str,
    script: &'static str,
    refused: &'static str,
) -> Client {
    Client {
        name,
        version,
        script,
        prints: "refused",
        refused,
    }
}

pub(super) const CLIENTS: &[Client] = &[
    reaches(
        "curl",
        CURL,
        "curl -sS $HTTP/greeting",
        "hello from outside",
    ),
    reaches(
        "curl over TLS",
        CURL,
        "curl -sS --cacert ca.pem $HTTPS/greeting",
        "hello from outside",
    ),
    reaches(
        "curl --resolve to our address",
        CURL,
        "curl -sS --resolve x.example:$PORT:127.0.0.1 http://x.example:$PORT/greeting",
        "hello from outside",
    ),
    reaches(
        "curl --socks5-hostname",
        CURL,
        "curl -sS --socks5-hostname 198.18.0.1:1080 --cacert ca.pem $HTTPS/greeting",
        "hello from outside",
    ),
    reaches(
        "curl --proxy",
        CURL,
        "curl -sS --proxy http://198.18.0.1:1080 --cacert ca.pem $HTTPS/greeting",
        "hello from outside",
    ),
    reaches(
        "curl, HTTP/2 over TLS",
        CURL,
        "curl -sS --http2 -w '%{http_version}' --cacert ca.pem $HTTP2/",
        "hello over HTTP/2\n2",
    ),
    reaches(
        "wget",
        "wget --version | head -1",
        "wget -qO- --ca-certificate=ca.pem $HTTPS/greeting",
        "hello from outside",
    ),
    reaches(
        "git clone over HTTPS",
        "git --version",
        "rm -rf cloned; GIT_SSL_CAINFO=$PWD/ca.pem git clone -q $HTTPS/made.git cloned; cat cloned/file",
        "hello from a repository",
    ),
    reaches(
        "Python urllib, no proxies",
        PYTHON,
        "cat > client.py <<'END'\n\
         import os, ssl, urllib.request as r\n\
         tls = r.HTTPSHandler(context=ssl.create_default_context(cafile='ca.pem'))\n\
         print(r.build_opener(r.ProxyHandler({}), tls).open(os.environ['HTTPS'] + '/greeting').read().decode())\n\
         END\n\
         /usr/bin/python3 client.py",
        "hello from outside",
    ),
    reaches(
        "pip install from an index",
        "/usr/bin/python3 -m pip --version | cut -d' ' -f1-2",
        "rm -rf site; /usr/bin/python3 -m pip install -q --isolated --disable-pip-version-check --no-cache-dir \
         --cert ca.pem --index-url $HTTPS/simple/ --target site greeting 2>&1\n\
         PYTHONPATH=site /usr/bin/python3 -c 'import greeting; print(greeting.text)'",
        "hello from a wheel",
    ),
    reaches(
        "node http, https and fetch",
        NODE,
        "cat > client.js <<'END'\n\
         const say = (m, u) => require(m).get(u + '/greeting', (r) => r.on('data', (d) => process.stdout.write(m + d)));\n\
         say('http', process.env.HTTP); say('https', process.env.HTTPS);\n\
         setImmediate(async () => console.log('fetch', await (await fetch(process.env.HTTPS + '/greeting')).text()));\n\
         END\n\
         NODE_EXTRA_CA_CERTS=ca.pem node client.js | sort",
        "fetch hello from outside\nhttphello from outside\nhttpshello from outside",
    ),
    reaches(
        "npm install from a registry",
        "npm --version",
        "rm -rf package; mkdir package; cd package; echo '{}' > package.json\n\
         npm install --silent --no-audit --no-fund --cache ./cache --registry $HTTPS/npm/ --cafile ../ca.pem greeting\n\
         node -p 'require(\"greeting\")'",
        "hello from a package",
    ),
    reaches(
        "cargo from a sparse registry",
        "cargo --version",
        "rm -rf crate; mkdir -p crate/src crate/home; cd crate; export CARGO_HOME=$PWD/home\n\
         printf '[registries.local]\\nindex = \"sparse+%s/index/\"\\n[http]\\ncainfo = \"%s\"\\n' $HTTPS $PWD/../ca.pem \
         > home/config.toml\n\
         printf '[package]\\nname = \"a\"\\nversion = \"1.0.0\"\\nedition = \"2021\"\\n[dependencies]\\n\
         greeting = { version = \"1\", registry = \"local\" }\\n' > Cargo.toml\n\
         echo 'fn main() { println!(\"{}\", greeting::TEXT) }' > src/main.rs; cargo run -q",
        "hello from a crate",
    ),
    reaches(
        "Java HttpURLConnection",
        "command -v java >/dev/null && java -version 2>&1",
        "cat > Client.java <<'END'\n\
         class Client { public static void main(String[] a) throws Exception {\n\
         new java.net.URL(a[0] + \"/greeting\").openStream().transferTo(System.out); } }\n\
         END\n\
         java Client.java $HTTP",
        "hello from outside",
    ),
    reaches(
        "a static program, musl",
        "musl-gcc --version | cut -d' ' -f1,3-",
        "cat > client.c <<'END'\n\
         #include <netdb.h>\n#include <stdio.h>\n#include <sys/socket.h>\n#include <unistd.h>\n\
         int main(int c, char **v) { struct addrinfo *a, h = {.ai_socktype = SOCK_STREAM}; char b[999]; int n;\n\
         if (getaddrinfo(v[1], v[2], &h, &a)) return 3;\n\
         int s = socket(a->ai_family, SOCK_STREAM, 0); if (connect(s, a->ai_addr, a->ai_addrlen)) return 4;\n\
         dprintf(s, \"GET /greeting HTTP/1.0\\r\\n\\r\\n\");\n\
         while ((n = read(s, b, 999)) > 0) write(1, b, n); return 0; }\n\
         END\n\
         musl-gcc -static -o client client.c; ./client $NAME $PORT",
        "hello from outside",
    ),
    reaches(
        "busybox wget",
        "busybox | head -1",
        "busybox wget -qO- $HTTP/greeting",
        "hello from outside",
    ),
    reaches(
        "getent",
        "getent --version | head -1",
        "getent ahosts $NAME; ! getent ahosts evil.example",
        "STREAM",
    ),
    is_refused(
        "getent, another name",
        "getent --version | head -1",
        "getent ahosts secret.evil.example || echo refused",
        "look-up of secret.evil.example",
    ),
    is_refused(
        "ssh",
        "command -v ssh >/dev/null && ssh -V 2>&1",
        "ssh -o BatchMode=yes -o ConnectTimeout=5 git@github.com 2>&1 || echo refused",
        "look-up of github.com",
    ),
    is_refused(
        "curl, another name",
        CURL,
        "curl -sS --max-time 9 https://evil.example/ 2>&1 || echo refused",
        "look-up of evil.example",
    ),
    is_refused(
        "curl, a wrong address",
        CURL,
        "curl -sS --max-time 9 --resolve $NAME:443:1.1.1.1 https://$NAME/ 2>&1 || echo refused",
        "connection to 1.1.1.1:443",
    ),
    is_refused(
        "curl, DNS over HTTPS",
        CURL,
        "curl -sS --max-time 9 --doh-url https://1.1.1.1/dns-query http://evil.example/ 2>&1 || echo refused",
        "connection to 1.1.1.1:443",
    ),
    is_refused(
        "Python, an address built in",
        PYTHON,
        "/usr/bin/python3 -c 'import socket; socket.create_connection((\"9.9.9.9\", 443)).recv(1)' 2>&1 | grep -q reset\n\
         echo refused",
        "connection to 9.9.9.9:443",
    ),
    is_refused(
        "Python, UDP",
        PYTHON,
        "/usr/bin/python3 -c 'import socket; s = socket.socket(2, 2); s.connect((\"9.9.9.9\", 443)); s.send(b\"a\")\n\
         s.settimeout(9); s.recv(1)' 2>&1 | grep -q 'Connection refused'; echo refused",
        "",
    ),
    is_refused(
        "Python, DNS over TCP",
        PYTHON,
        "cat > client.py <<'END'\n\
         import socket, struct\n\
         q = bytes.fromhex('0007010000010000000000000465766c31076578616d706c650000010001')\n\
         s = socket.create_connection(('9.9.9.9', 53)); s.sendall(struct.pack('>H', len(q)) + q)\n\
         assert s.recv(99)[5] & 15 == 3; print('refused')\n\
         END\n\
         /usr/bin/python3 client.py",
        "look-up of evl1.example",
    ),
];
