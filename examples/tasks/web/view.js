// Draws the board: three columns, a card for each task. Cards are kept from one drawing to the next,
// so that focus, an open editor and a running animation survive every change.

import { COLUMNS, column, tasks } from "./store.js";

const MARKS = {
  todo: '<circle cx="10" cy="10" r="6.25"/>',
  doing: '<circle cx="10" cy="10" r="6.25"/><path class="fill" d="M10 6.5a3.5 3.5 0 0 1 0 7Z"/>',
  done: '<circle class="fill" cx="10" cy="10" r="7"/><path class="tick" d="m6.9 10.2 2.2 2.2 4.1-4.5"/>',
};
const EMPTY = {
  todo: "Nothing is waiting.",
  doing: "Nothing in hand.",
  done: "Nothing finished yet.",
};
const HUES = [45, 85, 130, 165, 220, 260, 305, 355];
const calm = matchMedia("(prefers-reduced-motion: reduce)");

const $ = (id) => document.getElementById(id);
const clone = (id) => $(id).content.firstElementChild.cloneNode(true);

export const lanes = new Map(); // status → { section, list, composer, ... }
const cards = new Map(); // id → <li>
let words = [];
let paused = false;
let drawn = false;

export function build({ onAdd }) {
  for (const { status, name } of COLUMNS) {
    const section = clone("column-template");
    section.dataset.status = status;
    section.id = `column-${status}`;
    section.setAttribute("aria-labelledby", `name-${status}`);
    const title = section.querySelector("h2");
    title.textContent = name;
    title.id = `name-${status}`;
    section.querySelector(".mark").innerHTML = MARKS[status];
    const add = section.querySelector(".add");
    add.setAttribute("aria-label", `New task in ${name}`);
    add.addEventListener("click", () => onAdd(status));
    $("board").append(section);

    const tab = document.createElement("button");
    tab.type = "button";
    tab.innerHTML = "<span></span> <b></b>";
    tab.firstChild.textContent = name;
    tab.addEventListener("click", () =>
      section.scrollIntoView({ behavior: calm.matches ? "auto" : "smooth", inline: "start", block: "nearest" }),
    );
    $("tabs").append(tab);

    lanes.set(status, {
      section,
      tab,
      list: section.querySelector(".cards"),
      composer: section.querySelector(".composer"),
      count: section.querySelector(".count"),
      empty: section.querySelector(".empty"),
    });
  }
  // On a phone the columns lie side by side; the tab of the one in sight is lit.
  const seen = new IntersectionObserver(
    (entries) => {
      for (const { target, isIntersecting } of entries) {
        lanes.get(target.dataset.status).tab.toggleAttribute("aria-current", isIntersecting);
      }
    },
    { root: $("board"), threshold: 0.6 },
  );
  lanes.forEach(({ section }) => seen.observe(section));
}

/** Show only the cards with all these words in them. */
export function filter(text) {
  words = text.toLowerCase().split(/\s+/).filter(Boolean);
  draw("load");
}

const matches = (task) => {
  const text = `${task.title}\n${task.label}\n${task.notes}`.toLowerCase();
  return words.every((word) => text.includes(word));
};

/** While a card is dragged, everything else waits. */
export const pause = () => (paused = true);
export const unpause = () => (paused = false);

export function draw(origin, id) {
  if (paused) return;
  const before = new Map();
  if (drawn && !calm.matches) {
    for (const [key, card] of cards) before.set(key, card.getBoundingClientRect());
  }
  const focused = document.activeElement;

  for (const [key, card] of cards) {
    // A card that is being written in stays until it is saved or left.
    if (!tasks.has(key) && !card.dataset.editing) {
      card.remove();
      cards.delete(key);
    }
  }
  let shown = 0;
  for (const [status, lane] of lanes) {
    const all = column(status);
    const visible = all.filter((task) => matches(task) || cards.get(task.id)?.dataset.editing);
    for (const task of all) cards.get(task.id)?.classList.toggle("filtered", !visible.includes(task));
    let previous = null;
    for (const task of visible) {
      const card = cards.get(task.id) ?? makeCard(task);
      fill(card, task);
      card.setAttribute("aria-setsize", visible.length);
      card.setAttribute("aria-posinset", ++shown && visible.indexOf(task) + 1);
      const wanted = previous ? previous.nextSibling : lane.list.firstChild;
      if (wanted !== card) lane.list.insertBefore(card, wanted);
      previous = card;
    }
    lane.count.textContent = lane.tab.lastChild.textContent = all.length;
    lane.empty.hidden = visible.length > 0;
    lane.empty.textContent = all.length ? "Nothing here matches." : EMPTY[status];
    if (tasks.size === 0 && status === "todo") lane.empty.textContent = "A clear board. What comes first?";
  }
  // Moving an element in the document takes the focus from it.
  if (focused !== document.activeElement && focused?.isConnected) focused.focus({ preventScroll: true });
  if (!document.querySelector('.card[tabindex="0"]')) activate(document.querySelector(".card"));

  const done = column("done").length;
  $("summary").textContent = tasks.size ? `${done} of ${tasks.size} done` : "";
  $("summary").style.setProperty("--progress", tasks.size ? done / tasks.size : 0);
  $("board").setAttribute("aria-busy", "false");
  animate(before, origin, id);
  drawn = true;
}

function animate(before, origin, id) {
  if (!before.size && !drawn) return;
  for (const [key, card] of cards) {
    const old = before.get(key);
    if (calm.matches) continue;
    if (!old) {
      card.animate([{ opacity: 0, transform: "scale(.96)" }, {}], { duration: 220, easing: "ease-out" });
      continue;
    }
    const now = card.getBoundingClientRect();
    const x = old.left - now.left;
    const y = old.top - now.top;
    if ((x || y) && old.width && now.width) {
      card.animate([{ transform: `translate(${x}px, ${y}px)` }, {}], {
        duration: 260,
        easing: "cubic-bezier(.2, .8, .2, 1)",
      });
    }
  }
  if (origin === "elsewhere") cards.get(id)?.animate([{ boxShadow: "var(--glow)" }, {}], 1600);
}

function makeCard(task) {
  const card = clone("card-template");
  card.dataset.id = task.id;
  cards.set(task.id, card);
  return card;
}

function fill(card, task) {
  const part = (name) => card.querySelector(`.${name}`);
  const place = COLUMNS.findIndex(({ status }) => status === task.status);
  card.dataset.status = task.status;
  part("title").textContent = task.title;
  part("notes").textContent = task.notes;
  part("label").textContent = task.label;
  part("label").style.setProperty("--hue", hue(task.label));
  card.setAttribute("aria-label", `${task.title}, ${COLUMNS[place].name}`);
  for (const [name, other] of [["back", COLUMNS[place - 1]], ["forth", COLUMNS[place + 1]]]) {
    part(name).disabled = !other;
    part(name).setAttribute("aria-label", other ? `Move to ${other.name}` : "");
    part(name).title = other ? `Move to ${other.name}` : "";
  }
  part("delete").setAttribute("aria-label", `Delete ${task.title}`);
}

/** The same label has the same colour on every screen (FNV-1a spreads short words well). */
function hue(label) {
  let hash = 0x811c9dc5;
  for (const byte of new TextEncoder().encode(label.toLowerCase())) {
    hash = Math.imul(hash ^ byte, 0x01000193);
  }
  return HUES[(hash >>> 8) % HUES.length];
}

export const cardOf = (id) => cards.get(id);
export const idOf = (element) => Number(element?.closest(".card")?.dataset.id) || null;

/** One card at a time can be reached with Tab; the arrow keys walk to the others. */
export function activate(card) {
  for (const other of document.querySelectorAll('.card[tabindex="0"]')) setTab(other, -1);
  if (card) setTab(card, 0);
}

function setTab(card, index) {
  card.tabIndex = index;
  for (const button of card.querySelectorAll(".actions button")) button.tabIndex = index;
}

export function focus(id) {
  const card = cards.get(id);
  if (!card) return;
  activate(card);
  card.focus({ preventScroll: true });
  card.scrollIntoView({ block: "nearest", inline: "nearest" });
}
