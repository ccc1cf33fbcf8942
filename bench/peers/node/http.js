// node's own http module, no framework; one process.
const http = require("node:http");

const send = (res, kind, body) => {
  res.writeHead(200, { "Content-Type": kind, "Content-Length": Buffer.byteLength(body) });
  res.end(body);
};
const TEXT = "text/plain; charset=utf-8", JSON_TYPE = "application/json";

http.createServer((req, res) => {
  const path = req.url;
  if (path === "/") send(res, TEXT, "Hello, World!");
  else if (path === "/json") send(res, JSON_TYPE, JSON.stringify({ message: "Hello, World!" }));
  else if (path.startsWith("/items/")) send(res, TEXT, `item ${Number.parseInt(path.slice(7), 10)}`);
  else if (path === "/echo") {
    const parts = [];
    req.on("data", (part) => parts.push(part));
    req.on("end", () => send(res, JSON_TYPE, JSON.stringify(JSON.parse(Buffer.concat(parts)))));
  } else {
    res.writeHead(404);
    res.end();
  }
}).listen(Number(process.argv[2]), "127.0.0.1");
