// The form that a card turns into while it is edited, and that new tasks are written in.

import { tasks } from "./store.js";
import { cardOf, lanes } from "./view.js";

const FIELDS = ["title", "notes", "label"];

function makeForm(values, { save, close }) {
  const form = document.getElementById("form-template").content.firstElementChild.cloneNode(true);
  for (const name of FIELDS) form.elements[name].value = values[name] ?? "";
  const areas = form.querySelectorAll("textarea");
  const grow = (area) => {
    area.style.height = "auto";
    area.style.height = `${area.scrollHeight}px`;
  };
  for (const area of areas) area.addEventListener("input", () => grow(area));

  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const fields = {};
    for (const name of FIELDS) fields[name] = form.elements[name].value;
    fields.title = fields.title.replace(/\s+/g, " ").trim();
    if (!fields.title) {
      form.elements.title.focus();
      return;
    }
    await save(fields);
  });
  form.querySelector(".quiet").addEventListener("click", close);
  form.addEventListener("keydown", (event) => {
    event.stopPropagation();
    if (event.isComposing) return;
    if (event.key === "Escape") {
      event.preventDefault();
      close();
    } else if (event.key === "Enter" && (event.target !== form.elements.notes || event.ctrlKey || event.metaKey)) {
      if (event.target.type === "button") return;
      event.preventDefault();
      form.requestSubmit();
    }
  });
  return {
    form,
    show() {
      areas.forEach(grow);
      form.elements.title.focus();
      form.elements.title.setSelectionRange(1e6, 1e6);
    },
  };
}

/** Edit a card where it is. `save` gets only the fields that were changed. */
export function editCard(id, { save, done }) {
  const card = cardOf(id);
  const task = tasks.get(id);
  if (!card || !task || card.dataset.editing) return;
  const close = () => {
    form.remove();
    delete card.dataset.editing;
    done();
  };
  const { form, show } = makeForm(task, {
    close,
    async save(fields) {
      const changed = Object.entries(fields).filter(([name, value]) => value !== task[name]);
      close();
      if (changed.length) await save(Object.fromEntries(changed));
    },
  });
  card.dataset.editing = "true";
  card.append(form);
  show();
}

/** Open the form on top of a column. It stays open for the next task until it is put away. */
export function compose(status, add) {
  for (const lane of lanes.values()) lane.composer.replaceChildren();
  const { composer, section } = lanes.get(status);
  const close = () => {
    composer.replaceChildren();
    section.querySelector(".add").focus();
  };
  const { form, show } = makeForm({}, {
    close,
    async save(fields) {
      form.elements.title.value = form.elements.notes.value = "";
      show();
      if (!(await add({ ...fields, status }))) {
        // Nothing that was typed is lost.
        for (const name of FIELDS) form.elements[name].value ||= fields[name];
      }
    },
  });
  form.querySelector(".primary").textContent = "Add";
  composer.replaceChildren(form);
  form.scrollIntoView({ inline: "center", block: "nearest" });
  show();
}
