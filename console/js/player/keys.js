// A row of the keys that the keyboard of a touch screen lacks. Ctrl and Alt wait for the next key.

import { h } from "../shared/dom.js";

/** @type {[string, string, string][]} */
const KEYS = [
  ["Esc", "Escape", "Escape"],
  ["Tab", "Tab", "Tab"],
  ["←", "Left", "ArrowLeft"],
  ["↑", "Up", "ArrowUp"],
  ["↓", "Down", "ArrowDown"],
  ["→", "Right", "ArrowRight"],
];
/** @type {[string, string][]} */
const MODIFIERS = [
  ["Ctrl", "ControlLeft"],
  ["Alt", "AltLeft"],
];
/** Where a keyboard has what is typed after Ctrl or Alt and is neither letter nor digit. */
const PLACES = new Map([
  [" ", "Space"],
  ["-", "Minus"],
  ["=", "Equal"],
  ["[", "BracketLeft"],
  ["]", "BracketRight"],
  ["\\", "Backslash"],
  [";", "Semicolon"],
  ["'", "Quote"],
  [",", "Comma"],
  [".", "Period"],
  ["/", "Slash"],
  ["`", "Backquote"],
]);

/** The W3C code of the key that has a character, or null. Pure. @param {string} character @returns {string | null} */
export function placeOf(character) {
  if (/^[a-z]$/i.test(character)) return `Key${character.toUpperCase()}`;
  if (/^[0-9]$/.test(character)) return `Digit${character}`;
  return PLACES.get(character) ?? null;
}

/**
 * Fills the row. It is there while the field has the focus, and so the keyboard is up.
 * @param {HTMLElement} row
 * @param {import("./input.js").Input} input
 * @param {(up: boolean) => void} onKeyboard
 */
export function showKeys(row, input, onKeyboard) {
  /** @param {string} label @param {string} name @param {() => void} act */
  const button = (label, name, act) => h("button", { class: "button plain", type: "button", tabIndex: -1, "aria-label": name, onclick: act }, label);
  const keys = KEYS.map(([label, name, code]) => button(label, name, () => input.tap(code)));
  const modifiers = MODIFIERS.map(([label, code]) => ({ code, element: button(label, label, () => input.toggleWaiting(code)) }));
  input.onWaiting = () => {
    for (const { code, element } of modifiers) element.setAttribute("aria-pressed", String(input.waiting.has(code)));
  };
  input.onWaiting();
  row.replaceChildren(...keys.slice(0, 2), ...modifiers.map(({ element }) => element), ...keys.slice(2));
  // The focus stays in the field, or the keyboard goes down.
  row.addEventListener("pointerdown", (event) => event.preventDefault());
  /** @param {boolean} up */
  const show = (up) => {
    row.hidden = !up;
    onKeyboard(up);
  };
  input.field.addEventListener("focus", () => show(true));
  input.field.addEventListener("blur", () => show(false));
}
