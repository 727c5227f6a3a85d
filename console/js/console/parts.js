// Small pieces that the pages of the console share.

import { h } from "../shared/dom.js";

/** How long a button waits for the second press, in milliseconds. */
const CONFIRM_MS = 4_000;

/**
 * A button that asks once more before it does what cannot be undone.
 * @param {string} label
 * @param {string} question
 * @param {() => void} act
 */
export function confirmButton(label, question, act) {
  let timer = 0;
  const rest = () => {
    clearTimeout(timer);
    timer = 0;
    button.textContent = label;
    button.classList.remove("asking");
  };
  const button = h("button", {
    class: "button danger",
    type: "button",
    onclick: () => {
      if (timer !== 0) {
        rest();
        act();
        return;
      }
      button.textContent = question;
      button.classList.add("asking");
      timer = setTimeout(rest, CONFIRM_MS);
    },
  });
  rest();
  return button;
}

/**
 * What a page shows while there is nothing, and what to do about it.
 * @param {string} title
 * @param {string} text
 * @param {string} [command]
 */
export function empty(title, text, command) {
  return h("div", { class: "empty" }, h("h2", null, title), h("p", null, text), command ? h("pre", { class: "command" }, command) : null);
}

/** A list of names and values; the values are found again by `data-field`. @param {[string, string][]} fields */
export function facts(fields) {
  return h(
    "dl",
    { class: "facts" },
    fields.flatMap(([field, name]) => [h("dt", null, name), h("dd", { "data-field": field })]),
  );
}

/** @param {Element} element @param {string} field @returns {HTMLElement | null} */
export function fieldOf(element, field) {
  return element.querySelector(`[data-field="${field}"]`);
}

/** A link to another page of the console. @param {string} path @param {...import("../shared/dom.js").Child} children */
export function goTo(path, ...children) {
  return h("a", { href: `#${path}` }, ...children);
}

/**
 * A select whose options follow a list and whose value is set from outside unless it has the focus.
 * @param {HTMLSelectElement} select
 * @param {{value: string, text: string}[]} options
 * @param {string} value
 */
export function setOptions(select, options, value) {
  const wanted = options.map(({ value, text }) => `${value}\u0000${text}`).join("\u0001");
  if (select.dataset.options !== wanted) {
    select.dataset.options = wanted;
    select.replaceChildren(...options.map(({ value, text }) => h("option", { value }, text)));
  }
  if (document.activeElement !== select) select.value = value;
}
