// The task board's API with Express and pg in production mode (NODE_ENV outside), one process.
// The statements come from examples/tasks (CRUD_STATEMENTS); named, so that they are prepared once, as asyncpg does.
const express = require("express");
const { Pool, types } = require("pg");

types.setTypeParser(20, Number); // int8: the ids here are small
const sql = JSON.parse(process.env.CRUD_STATEMENTS);
const pool = new Pool({ connectionString: process.env.DATABASE_URL, max: Number(process.env.CRUD_POOL) });
const ask = (name, values) => pool.query({ name, text: sql[name], values });
const statuses = new Set(["todo", "doing", "done"]);

const app = express();
app.use(express.json({ limit: "128kb" }));

function whole(text, otherwise, least, most) {
  if (text === undefined) return otherwise;
  const number = Number(text);
  return Number.isInteger(number) && number >= least && number <= most ? number : NaN;
}

function text(value, otherwise, most) {
  if (value === undefined) return otherwise;
  return typeof value === "string" && value.length <= most ? value.trim() : null;
}

app.get("/tasks", async (req, res) => {
  const limit = whole(req.query.limit, 50, 1, 200);
  const offset = whole(req.query.offset, 0, 0, 1e9);
  if (Number.isNaN(limit) || Number.isNaN(offset) || !statuses.has(req.query.status)) {
    return res.status(422).json({ detail: "wrong query" });
  }
  const { rows } = await ask("list", [limit, offset, req.query.status]);
  const total = rows[0].total;
  const items = [];
  for (const { total, ...task } of rows) if (task.id !== null) items.push(task);
  res.json({ items, total, limit, offset });
});

app.get("/tasks/:id", async (req, res) => {
  const id = whole(req.params.id, NaN, 1, Number.MAX_SAFE_INTEGER);
  const { rows } = Number.isNaN(id) ? { rows: [] } : await ask("get", [id]);
  if (!rows.length) return res.status(404).json({ detail: `There is no task ${req.params.id}.` });
  res.json(rows[0]);
});

app.post("/tasks", async (req, res) => {
  const title = text(req.body.title, null, 200);
  const notes = text(req.body.notes, "", 10000);
  const label = text(req.body.label, "", 24);
  const status = req.body.status ?? "todo";
  if (!title || notes === null || label === null || !statuses.has(status)) {
    return res.status(422).json({ detail: "wrong body" });
  }
  const { rows } = await ask("create", [title, notes, label, status]);
  res.status(201).location(`/tasks/${rows[0].id}`).json(rows[0]);
});

app.listen(Number(process.argv[2]), "127.0.0.1");
