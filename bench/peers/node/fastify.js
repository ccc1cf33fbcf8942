// Fastify, logger off; one process.
const app = require("fastify")({ logger: false });

app.get("/", async (request, reply) => { reply.type("text/plain; charset=utf-8"); return "Hello, World!"; });
app.get("/json", async () => ({ message: "Hello, World!" }));
app.get("/items/:id", async (request, reply) => {
  reply.type("text/plain; charset=utf-8");
  return `item ${Number.parseInt(request.params.id, 10)}`;
});
app.post("/echo", async (request) => request.body);

app.listen({ port: Number(process.argv[2]), host: "127.0.0.1" });
