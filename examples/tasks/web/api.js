// The task API as functions, and the stream of changes. Nothing here knows the page.

/** A request that failed. `message` is for people; `status` is the HTTP status, 0 without a response. */
export class ApiError extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

async function call(method, path, body) {
  let response;
  try {
    response = await fetch(path, {
      method,
      headers: body && { "Content-Type": "application/json" },
      body: body && JSON.stringify(body),
    });
  } catch {
    throw new ApiError(0, "The server does not answer.");
  }
  const text = await response.text();
  let data = null;
  try {
    data = text ? JSON.parse(text) : null;
  } catch {
    throw new ApiError(response.status, "The response was not understood.");
  }
  if (!response.ok) {
    throw new ApiError(response.status, data?.detail ?? data?.title ?? response.statusText);
  }
  return data;
}

export const create = (task) => call("POST", "/tasks", task);
export const change = (id, fields) => call("PATCH", `/tasks/${id}`, fields);
export const remove = (id) => call("DELETE", `/tasks/${id}`);
export const status = () => call("GET", "/status");

/** Every task, page by page. */
export async function all() {
  const tasks = [];
  for (;;) {
    const page = await call("GET", `/tasks?limit=200&offset=${tasks.length}`);
    tasks.push(...page.items);
    if (page.items.length === 0 || tasks.length >= page.total) return tasks;
  }
}

/**
 * Follow the changes. The browser connects again by itself and says where it left off; the server
 * then sends what was missed, or `resync` when it no longer knows.
 */
export function follow({ onResync, onTask, onDeleted, onState }) {
  let source = null;
  let timer = 0;
  let failures = 0;

  function connect() {
    clearTimeout(timer);
    if (source && source.readyState !== EventSource.CLOSED) return;
    source = new EventSource("/events");
    source.onopen = () => {
      failures = 0;
      onState("live");
    };
    source.onerror = () => {
      onState("lost");
      // After a response that is not an event stream (a proxy's 502, say) the browser gives up; we do not.
      if (source.readyState === EventSource.CLOSED) {
        timer = setTimeout(connect, Math.min(15_000, 500 * 2 ** failures++));
      }
    };
    source.addEventListener("resync", onResync);
    for (const name of ["created", "updated"]) {
      source.addEventListener(name, (event) => onTask(JSON.parse(event.data)));
    }
    source.addEventListener("deleted", (event) => onDeleted(JSON.parse(event.data).id));
  }

  function rest() {
    clearTimeout(timer);
    source?.close();
  }

  // A browser opens six connections to one server and no more: a page that nobody looks at gives
  // its own back, and reads the list again when it is looked at.
  addEventListener("visibilitychange", () => {
    if (!document.hidden) connect();
    else timer = setTimeout(rest, 20_000);
  });
  addEventListener("pagehide", rest);
  addEventListener("pageshow", connect);
  connect();
}
