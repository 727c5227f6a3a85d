// What hands do on the picture: drag, throw, pinch, wheel, keys. Says so, and decides nothing.

/**
 * @typedef {object} Actions
 * @property {() => void} onDragStart
 * @property {(pixels: number) => void} onDrag  To the right is positive.
 * @property {() => void} onDragEnd
 * @property {(factor: number, point: {x: number, y: number}) => void} onZoom  The point is a fraction of the window, from its middle.
 * @property {(dx: number, dy: number) => void} onPan  Fractions of the window.
 * @property {() => void} onZoomReset
 * @property {(direction: 1 | -1) => void} onStep  1 is to the viewer's right.
 * @property {(key: string) => boolean} onKey  Whether the key means something.
 */

/** A notch of a wheel goes nearer by this. */
const WHEEL = 1.0015;
/** A key goes nearer by this. */
const KEY = 1.25;
/** Two taps within this long, in milliseconds, and this near, in pixels, are a double tap. */
const DOUBLE = { ms: 300, pixels: 30 };
/** Less than this is no drag, in pixels. */
const STILL = 4;

/** Listens on one element and on the page's keys. */
export class Hands {
  /** @param {HTMLElement} element @param {Actions} actions */
  constructor(element, actions) {
    this.element = element;
    this.actions = actions;
    /** @type {Map<number, {x: number, y: number}>} */
    this.pointers = new Map();
    this.travelled = 0;
    this.tapped = { at: -Infinity, x: 0, y: 0 };
    element.addEventListener("pointerdown", (event) => this.handleDown(event));
    element.addEventListener("pointermove", (event) => this.handleMove(event));
    element.addEventListener("pointerup", (event) => this.handleUp(event));
    element.addEventListener("pointercancel", (event) => this.handleUp(event));
    element.addEventListener("wheel", (event) => this.handleWheel(event), { passive: false });
    addEventListener("keydown", (event) => this.handleKey(event));
  }

  /** @param {PointerEvent} event */
  handleDown(event) {
    if (event.button !== 0) return;
    this.element.setPointerCapture(event.pointerId);
    this.pointers.set(event.pointerId, { x: event.clientX, y: event.clientY });
    this.travelled = 0;
    if (this.pointers.size === 1) this.actions.onDragStart();
    // A second finger makes it a pinch.
    else this.actions.onDragEnd();
  }

  /** @param {PointerEvent} event */
  handleMove(event) {
    const before = this.pointers.get(event.pointerId);
    if (!before) return;
    const now = { x: event.clientX, y: event.clientY };
    if (this.pointers.size === 1) {
      this.travelled += Math.hypot(now.x - before.x, now.y - before.y);
      this.actions.onDrag(now.x - before.x);
    } else if (this.pointers.size === 2) {
      const [other] = [...this.pointers].filter(([id]) => id !== event.pointerId).map(([, point]) => point);
      this.pinch(before, now, other);
    }
    this.pointers.set(event.pointerId, now);
  }

  /** @param {{x: number, y: number}} before @param {{x: number, y: number}} now @param {{x: number, y: number}} other */
  pinch(before, now, other) {
    const apart = Math.hypot(before.x - other.x, before.y - other.y);
    const { clientWidth, clientHeight } = this.element;
    this.actions.onPan((now.x - before.x) / 2 / clientWidth, (now.y - before.y) / 2 / clientHeight);
    if (apart > STILL) this.actions.onZoom(Math.hypot(now.x - other.x, now.y - other.y) / apart, this.point((now.x + other.x) / 2, (now.y + other.y) / 2));
  }

  /** @param {PointerEvent} event */
  handleUp(event) {
    if (!this.pointers.delete(event.pointerId)) return;
    if (this.pointers.size > 0) return;
    this.actions.onDragEnd();
    if (this.travelled > STILL) return;
    const near = Math.hypot(event.clientX - this.tapped.x, event.clientY - this.tapped.y) < DOUBLE.pixels;
    if (near && event.timeStamp - this.tapped.at < DOUBLE.ms) this.actions.onZoomReset();
    this.tapped = { at: event.timeStamp, x: event.clientX, y: event.clientY };
  }

  /** @param {WheelEvent} event */
  handleWheel(event) {
    event.preventDefault();
    const pixels = event.deltaMode === WheelEvent.DOM_DELTA_LINE ? event.deltaY * 16 : event.deltaY;
    this.actions.onZoom(WHEEL ** -pixels, this.point(event.clientX, event.clientY));
  }

  /** @param {KeyboardEvent} event */
  handleKey(event) {
    if (event.ctrlKey || event.altKey || event.metaKey) return;
    // A list that has the focus keeps its keys; a button keeps those that press it.
    const { target } = event;
    if (target instanceof HTMLSelectElement || target instanceof HTMLInputElement) return;
    if (target instanceof HTMLElement && target.closest("button, a") && (event.key === " " || event.key === "Enter")) return;
    if (this.act(event.key)) event.preventDefault();
  }

  /** @param {string} key */
  act(key) {
    const middle = { x: 0, y: 0 };
    if (key === "ArrowRight") this.actions.onStep(1);
    else if (key === "ArrowLeft") this.actions.onStep(-1);
    else if (key === "ArrowUp" || key === "+" || key === "=") this.actions.onZoom(KEY, middle);
    else if (key === "ArrowDown" || key === "-") this.actions.onZoom(1 / KEY, middle);
    else if (key === "0" || key === "Escape") this.actions.onZoomReset();
    else return this.actions.onKey(key.toLowerCase());
    return true;
  }

  /** @param {number} x @param {number} y */
  point(x, y) {
    const box = this.element.getBoundingClientRect();
    return { x: (x - box.left) / box.width - 0.5, y: (y - box.top) / box.height - 0.5 };
  }
}
