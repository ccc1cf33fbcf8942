// The tasks as this page knows them. Changes show at once and are sent at the same time; when the
// server says no, they are taken back.

import * as api from "./api.js";

export const COLUMNS = [
  { status: "todo", name: "To do" },
  { status: "doing", name: "Doing" },
  { status: "done", name: "Done" },
];
const STEP = 1024;

/** id → task */
export const tasks = new Map();
/** id → number of requests on their way that change it */
const pending = new Map();
const listeners = new Set();

/** `listener(origin)` runs after each change: "here", "elsewhere" or "load". */
export const subscribe = (listener) => listeners.add(listener);
const changed = (origin, id) => listeners.forEach((listener) => listener(origin, id));

const inOrder = (a, b) => a.position - b.position || a.id - b.id;

/** The tasks of one column from top to bottom, without the one whose id is `except`. */
export function column(status, except) {
  const found = [];
  for (const task of tasks.values()) {
    if (task.status === status && task.id !== except) found.push(task);
  }
  return found.sort(inOrder);
}

export async function load() {
  const fresh = await api.all();
  const ids = new Set(fresh.map((task) => task.id));
  for (const id of tasks.keys()) {
    if (!ids.has(id) && !pending.has(id)) tasks.delete(id);
  }
  for (const task of fresh) take(task);
  changed("load");
}

/** Keep what the server says, unless we know something newer or are about to say something else. */
function take(task) {
  const known = tasks.get(task.id);
  if (pending.has(task.id) || (known && known.version >= task.version)) return false;
  tasks.set(task.id, task);
  return true;
}

export function taskFromElsewhere(task) {
  if (take(task)) changed("elsewhere", task.id);
}

export function deletedElsewhere(id) {
  if (tasks.delete(id)) changed("elsewhere", id);
}

/** Write a new task at the top of its column (or at `position`, when it had one before). */
export async function add(fields) {
  if (fields.position === undefined) {
    const first = column(fields.status)[0];
    if (first) fields = { ...fields, position: first.position - STEP };
  }
  const task = await api.create(fields);
  take(task);
  changed("here", task.id);
  return task;
}

export async function edit(id, fields) {
  const before = tasks.get(id);
  if (!before) throw new api.ApiError(404, "This task was deleted meanwhile.");
  tasks.set(id, { ...before, ...fields });
  pending.set(id, (pending.get(id) ?? 0) + 1);
  changed("here", id);
  try {
    const after = await api.change(id, fields);
    // Of several changes on their way only the last response is shown: no card jumps back and forth.
    if (resolve(id) && tasks.has(id)) tasks.set(id, after);
  } catch (error) {
    resolve(id);
    if (error.status === 404) tasks.delete(id);
    else if (tasks.has(id)) tasks.set(id, before);
    throw error;
  } finally {
    changed("here", id);
  }
}

function resolve(id) {
  const left = pending.get(id) - 1;
  if (left) pending.set(id, left);
  else pending.delete(id);
  return left === 0;
}

/** Put a task at `index` among the others of a column. */
export async function move(id, status, index) {
  const others = column(status, id);
  const before = others[index - 1]?.position;
  const after = others[index]?.position;
  let position;
  if (before === undefined && after === undefined) position = STEP;
  else if (before === undefined) position = after - STEP;
  else if (after === undefined) position = before + STEP;
  else position = (before + after) / 2;
  if (position === before || position === after) {
    // Halved some fifty times, the gap is used up: number the column again and try again.
    for (const [i, task] of others.entries()) await edit(task.id, { position: (i + 1) * STEP });
    return move(id, status, index);
  }
  const task = tasks.get(id);
  return edit(id, task.status === status ? { position } : { status, position });
}

export async function remove(id) {
  const before = tasks.get(id);
  tasks.delete(id);
  changed("here", id);
  try {
    await api.remove(id);
  } catch (error) {
    if (error.status !== 404) {
      tasks.set(id, before);
      changed("here", id);
      throw error;
    }
  }
  return before;
}
