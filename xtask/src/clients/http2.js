// Serves HTTP/2 over TLS on 127.0.0.1, and nothing older; prints its port, ends with its input.
const fs = require("fs"), directory = process.argv[1];
const server = require("http2").createSecureServer({
  key: fs.readFileSync(directory + "/key.pem"),
  cert: fs.readFileSync(directory + "/ca.pem"),
});
server.on("stream", (stream) => stream.end("hello over HTTP/2\n"));
server.listen(0, "127.0.0.1", () => console.log(server.address().port));
process.stdin.resume().on("end", () => process.exit());
