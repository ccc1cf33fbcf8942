// Ties the parts together: what the hands do, what the server says, what the footer shows.

import * as api from "./api.js";
import { enable as enableDrag } from "./drag.js";
import { compose, editCard } from "./editor.js";
import * as store from "./store.js";
import * as view from "./view.js";

const $ = (id) => document.getElementById(id);
const board = $("board");

// ---- toasts -------------------------------------------------------------------------------------

function toast(text, { action, run, kind = "plain" } = {}) {
  const box = document.createElement("div");
  box.className = `toast ${kind}`;
  const message = document.createElement("span");
  message.textContent = text;
  box.append(message);
  if (action) {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = action;
    button.addEventListener("click", () => {
      box.remove();
      run();
    });
    box.append(button);
  }
  $("toasts").append(box);
  while ($("toasts").children.length > 3) $("toasts").firstChild.remove();
  setTimeout(() => box.remove(), 7000);
}

const say = (text) => ($("announce").textContent = text);

/** Run an action; when the server refuses it, say so. True when it went well. */
async function attempt(action) {
  try {
    await action();
    return true;
  } catch (error) {
    if (!(error instanceof api.ApiError)) throw error;
    toast(error.message, { kind: "error" });
    return false;
  } finally {
    refreshFacts();
  }
}

// ---- what can be done ---------------------------------------------------------------------------

const addTo = (status) => compose(status, (fields) => attempt(() => store.add(fields)));

const edit = (id) =>
  editCard(id, {
    save: (fields) => attempt(() => store.edit(id, fields)),
    done() {
      view.draw();
      view.focus(id);
    },
  });

async function move(id, status, index) {
  const { name } = store.COLUMNS.find((column) => column.status === status);
  const moved = attempt(() => store.move(id, status, index));
  say(`${store.tasks.get(id).title}: ${name}, place ${store.column(status).findIndex((task) => task.id === id) + 1}`);
  await moved;
}

/** To the top of the column on the left (-1) or on the right (+1). */
function step(id, direction) {
  const place = store.COLUMNS.findIndex(({ status }) => status === store.tasks.get(id).status);
  const target = store.COLUMNS[place + direction];
  if (!target) return;
  move(id, target.status, 0);
  view.focus(id);
}

function shift(id, direction) {
  const { status } = store.tasks.get(id);
  const index = store.column(status).findIndex((task) => task.id === id) + direction;
  if (index < 0 || index >= store.column(status).length) return;
  move(id, status, index);
  view.focus(id);
}

async function remove(id) {
  const card = view.cardOf(id);
  const next = card.nextElementSibling ?? card.previousElementSibling;
  let gone;
  if (!(await attempt(async () => (gone = await store.remove(id))))) return;
  if (next?.isConnected) view.focus(view.idOf(next));
  const { title, notes, label, status, position } = gone;
  toast(`Deleted “${title}”`, {
    action: "Undo",
    run: () => attempt(() => store.add({ title, notes, label, status, position })),
  });
}

// ---- mouse and touch ----------------------------------------------------------------------------

board.addEventListener("click", (event) => {
  const id = view.idOf(event.target);
  if (!id || event.target.closest(".editor")) return;
  view.activate(view.cardOf(id));
  const button = event.target.closest("button");
  if (!button) edit(id);
  else if (button.classList.contains("delete")) remove(id);
  else step(id, button.classList.contains("back") ? -1 : 1);
});
board.addEventListener("focusin", (event) => {
  const id = view.idOf(event.target);
  if (id) view.activate(view.cardOf(id));
});
$("add").addEventListener("click", () => addTo("todo"));
enableDrag(board, move);

// ---- keyboard -----------------------------------------------------------------------------------

const ARROWS = { ArrowUp: [0, -1], ArrowDown: [0, 1], ArrowLeft: [-1, 0], ArrowRight: [1, 0] };

board.addEventListener("keydown", (event) => {
  const card = event.target.closest(".card");
  if (!card || event.ctrlKey || event.metaKey || event.altKey) return;
  const id = view.idOf(card);
  const arrow = ARROWS[event.key];
  if (arrow) {
    event.preventDefault();
    const [x, y] = arrow;
    if (event.shiftKey) x ? step(id, x) : shift(id, y);
    else walk(card, x, y);
  } else if (event.target !== card) {
    return; // Enter and Space belong to the button that has the focus
  } else if (event.key === "Enter" || event.key === "e") {
    event.preventDefault();
    edit(id);
  } else if (event.key === "Delete" || event.key === "Backspace") {
    event.preventDefault();
    remove(id);
  }
});

function walk(card, x, y) {
  const shown = (list) => [...list.children].filter((other) => !other.classList.contains("filtered"));
  const columns = [...view.lanes.values()].map(({ list }) => shown(list));
  const here = columns.findIndex((cards) => cards.includes(card));
  const row = columns[here].indexOf(card);
  let target = columns[here][row + y];
  for (let at = here + x; x && at >= 0 && at < columns.length; at += x) {
    if (!columns[at].length) continue;
    target = columns[at][Math.min(row, columns[at].length - 1)];
    break;
  }
  if (target) view.focus(view.idOf(target));
}

addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.target.closest("input, textarea, dialog")) return;
  if (event.key === "n") addTo("todo");
  else if (event.key === "/") $("search").focus();
  else if (event.key === "?") $("keys").showModal();
  else return;
  event.preventDefault();
});

// ---- search, theme, help ------------------------------------------------------------------------

$("search").addEventListener("input", () => view.filter($("search").value));
$("search").addEventListener("keydown", (event) => {
  if (event.key !== "Escape") return;
  $("search").value = "";
  view.filter("");
  $("search").blur();
});

$("theme").addEventListener("click", () => {
  const root = document.documentElement;
  const dark = matchMedia("(prefers-color-scheme: dark)").matches;
  const shown = root.dataset.theme ?? (dark ? "dark" : "light");
  const theme = shown === "dark" ? "light" : "dark";
  root.dataset.theme = theme;
  localStorage.setItem("theme", theme);
});

$("help").addEventListener("click", () => $("keys").showModal());

// ---- what the footer shows ----------------------------------------------------------------------

const NAMES = { live: "Live", lost: "Reconnecting", connecting: "Connecting" };

function showState(state) {
  $("state").dataset.state = state;
  $("state").lastChild.textContent = NAMES[state];
  if (state === "live") refreshFacts();
}

function fact(id, text, title = "") {
  $(id).hidden = !text;
  $(id).textContent = text;
  $(id).title = title;
}

const count = new Intl.NumberFormat();
let soon = 0;

/** Ask how the server does, at most four times a second. */
function refreshFacts() {
  soon ||= setTimeout(async () => {
    try {
      const facts = await api.status();
      fact("engine", `${facts.loop} · ${facts.storage}`, `Ember ${facts.version}, Python ${facts.python}`);
      fact("served", `${count.format(facts.requests)} requests`, "answered since the server started");
      fact("pages", `${facts.pages} ${facts.pages === 1 ? "page" : "pages"}`, "pages that follow this board now");
    } catch (error) {
      if (!(error instanceof api.ApiError)) throw error; // the state of the stream says it already
    } finally {
      soon = 0;
    }
  }, 250);
}
setInterval(() => document.hidden || refreshFacts(), 10_000);

// ---- begin --------------------------------------------------------------------------------------

view.build({ onAdd: addTo });
store.subscribe(view.draw);
store.subscribe((origin) => origin === "elsewhere" && refreshFacts());
api.follow({
  onResync: () => attempt(store.load),
  onTask: store.taskFromElsewhere,
  onDeleted: store.deletedElsewhere,
  onState: showState,
});
