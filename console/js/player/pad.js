// Buttons on the glass for games on a touch screen: those of a gamepad that the app's manifest gives a meaning.

import { h } from "../shared/dom.js";

/** What stands on the buttons, by their number in the Standard Gamepad layout. */
const LABELS = new Map([
  [12, "▲"],
  [13, "▼"],
  [14, "◀"],
  [15, "▶"],
  [0, "A"],
  [1, "B"],
  [2, "X"],
  [3, "Y"],
  [4, "L"],
  [5, "R"],
  [8, "Select"],
  [9, "Start"],
]);
const CROSS = [12, 14, 15, 13];

/**
 * Shows a button for each that means something; none for apps without a gamepad.
 * @param {HTMLElement} pad
 * @param {Record<string, string>} gamepad  `button0` and so on to the keys they press.
 * @param {(button: number, down: boolean) => void} onButton
 */
export function showPad(pad, gamepad, onButton) {
  const wanted = Object.keys(gamepad).sort().join(" ");
  if (pad.dataset.buttons === wanted) return;
  pad.dataset.buttons = wanted;
  const known = [...LABELS.keys()].filter((button) => gamepad[`button${button}`] !== undefined);
  const cross = CROSS.filter((button) => known.includes(button));
  const others = known.filter((button) => !CROSS.includes(button));
  pad.hidden = known.length === 0;
  pad.replaceChildren(
    h("div", { class: "cross" }, cross.map((button) => makeButton(button, gamepad[`button${button}`], onButton))),
    h("div", { class: "others" }, others.map((button) => makeButton(button, gamepad[`button${button}`], onButton))),
  );
}

/**
 * @param {number} button
 * @param {string} key
 * @param {(button: number, down: boolean) => void} onButton
 */
function makeButton(button, key, onButton) {
  const element = h("button", { type: "button", tabIndex: -1, "data-button": button, "aria-label": `${LABELS.get(button)}: ${key}` }, LABELS.get(button));
  /** @param {boolean} down */
  const press = (down) => (/** @type {PointerEvent} */ event) => {
    event.preventDefault();
    if (element.classList.contains("down") === down) return;
    if (down) element.setPointerCapture(event.pointerId);
    element.classList.toggle("down", down);
    onButton(button, down);
  };
  element.addEventListener("pointerdown", press(true));
  element.addEventListener("pointerup", press(false));
  element.addEventListener("pointercancel", press(false));
  element.addEventListener("contextmenu", (event) => event.preventDefault());
  return element;
}
