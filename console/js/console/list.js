// Lists that are renewed in place: what has the focus keeps it, what is open stays open.

/**
 * Makes the children of `parent` follow `items`.
 * @template T
 * @param {Element} parent
 * @param {Iterable<T>} items
 * @param {(item: T) => string} key
 * @param {(item: T) => Element} create
 * @param {(element: any, item: T) => void} update
 */
export function follow(parent, items, key, create, update) {
  /** @type {Map<string, Element>} */
  const old = new Map();
  for (const child of parent.children) {
    const name = child.getAttribute("data-key");
    if (name !== null) old.set(name, child);
  }
  /** @type {Element | null} */
  let before = null;
  for (const item of items) {
    const name = key(item);
    let element = old.get(name);
    old.delete(name);
    if (!element) {
      element = create(item);
      element.setAttribute("data-key", name);
    }
    update(element, item);
    const next = /** @type {Element | null} */ (before === null ? parent.firstElementChild : before.nextElementSibling);
    // Moving an element takes the focus from it, so only what is out of place moves.
    if (next !== element) parent.insertBefore(element, next);
    before = element;
  }
  for (const element of old.values()) element.remove();
}

/** Sets a text only when it changed, so that a selection in it survives. @param {Element | null} element @param {string} text */
export function setText(element, text) {
  if (element && element.textContent !== text) element.textContent = text;
}
