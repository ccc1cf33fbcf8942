// Dragging a card with the mouse or a pen. Fingers scroll instead; they use the buttons on the card.

import { column, tasks } from "./store.js";
import { cardOf, draw, idOf, lanes, pause, unpause } from "./view.js";

const FAR_ENOUGH = 5; // pixels before a press becomes a drag

export function enable(board, drop) {
  let drag = null;
  let swallow = false;

  board.addEventListener("pointerdown", (event) => {
    const card = event.target.closest(".card");
    if (!card || card.dataset.editing || event.button !== 0 || event.pointerType === "touch") return;
    if (event.target.closest("button")) return;
    const box = card.getBoundingClientRect();
    drag = { id: idOf(card), card, x: event.clientX, y: event.clientY, box, ghost: null };
  });

  addEventListener("pointermove", (event) => {
    if (!drag) return;
    const x = event.clientX - drag.x;
    const y = event.clientY - drag.y;
    if (!drag.ghost) {
      if (Math.hypot(x, y) < FAR_ENOUGH) return;
      lift();
    }
    event.preventDefault();
    drag.ghost.style.transform = `translate(${x}px, ${y}px) rotate(${Math.max(-2, Math.min(2, x / 60))}deg)`;
    place(event.clientX, event.clientY);
    const edge = 70;
    if (event.clientY < edge) scrollBy(0, -12);
    else if (event.clientY > innerHeight - edge) scrollBy(0, 12);
  });

  addEventListener("click", (event) => swallow && event.stopPropagation(), { capture: true });
  addEventListener("pointerup", () => finish(true));
  addEventListener("pointercancel", () => finish(false));
  addEventListener(
    "keydown",
    (event) => {
      if (event.key !== "Escape" || !drag?.ghost) return;
      event.stopPropagation();
      finish(false);
    },
    { capture: true },
  );

  function lift() {
    const { card, box } = drag;
    const ghost = card.cloneNode(true);
    ghost.classList.add("ghost");
    ghost.removeAttribute("tabindex");
    ghost.setAttribute("aria-hidden", "true");
    Object.assign(ghost.style, { left: `${box.left}px`, top: `${box.top}px`, width: `${box.width}px` });
    document.body.append(ghost);
    document.body.classList.add("dragging");
    card.classList.add("slot");
    getSelection().removeAllRanges();
    drag.ghost = ghost;
    pause(); // what arrives from elsewhere is drawn when the card is put down
  }

  /** Let the empty slot follow the pointer. */
  function place(x, y) {
    let nearest = null;
    let distance = Infinity;
    for (const lane of lanes.values()) {
      const box = lane.section.getBoundingClientRect();
      const away = x < box.left ? box.left - x : Math.max(0, x - box.right);
      if (away < distance) [nearest, distance] = [lane, away];
    }
    for (const lane of lanes.values()) lane.section.classList.toggle("target", lane === nearest);
    const below = [...nearest.list.children].find((other) => {
      if (other === drag.card || other.classList.contains("filtered")) return false;
      const box = other.getBoundingClientRect();
      return y < box.top + box.height / 2;
    });
    if ((below ?? null) !== drag.card.nextElementSibling || drag.card.parentNode !== nearest.list) {
      nearest.list.insertBefore(drag.card, below ?? null);
      nearest.empty.hidden = true;
    }
  }

  function finish(dropped) {
    const ended = drag;
    drag = null;
    if (!ended?.ghost) return;
    const { id, card, ghost } = ended;
    document.body.classList.remove("dragging");
    card.classList.remove("slot");
    for (const lane of lanes.values()) lane.section.classList.remove("target");
    // The click that ends a drag is not meant for the card.
    swallow = true;
    setTimeout(() => (swallow = false));

    const status = card.closest(".column").dataset.status;
    const task = tasks.get(id);
    const others = column(status, id);
    const below = others.findIndex((other) => other.id === idOf(nextShown(card)));
    const index = below < 0 ? others.length : below;
    const from = ghost.getBoundingClientRect();
    ghost.remove();
    unpause();
    if (dropped && task && (task.status !== status || column(status).indexOf(task) !== index)) {
      drop(id, status, index);
    } else {
      draw();
    }
    glide(cardOf(id), from);
  }
}

function nextShown(card) {
  let next = card.nextElementSibling;
  while (next?.classList.contains("filtered")) next = next.nextElementSibling;
  return next;
}

/** From where the hand let go to where the card belongs. */
function glide(card, from) {
  if (!card || matchMedia("(prefers-reduced-motion: reduce)").matches) return;
  const to = card.getBoundingClientRect();
  card.getAnimations().forEach((animation) => animation.cancel());
  card.animate([{ transform: `translate(${from.left - to.left}px, ${from.top - to.top}px)` }, {}], {
    duration: 180,
    easing: "ease-out",
  });
}
