// Express in production mode (NODE_ENV outside), one process.
const express = require("express");
const app = express();

app.use(express.json());
app.get("/", (req, res) => res.type("text/plain").send("Hello, World!"));
app.get("/json", (req, res) => res.json({ message: "Hello, World!" }));
app.get("/items/:id", (req, res) => res.type("text/plain").send(`item ${Number.parseInt(req.params.id, 10)}`));
app.post("/echo", (req, res) => res.json(req.body));

app.listen(Number(process.argv[2]), "127.0.0.1");
