// The order of input events on their way out: motion is gathered, everything else goes at once and never overtakes the
// motion before it. Pure.

/**
 * @typedef {{t: "key", code: string, down: boolean}
 *   | {t: "text", text: string}
 *   | {t: "button", button: number, down: boolean, x?: number, y?: number}
 *   | {t: "clipboard", text: string}
 *   | {t: "resize", width: number, height: number}
 *   | {t: "gamepad", button: number, down: boolean}
 *   | {t: "release"}} Discrete
 */

/** @typedef {{t: string, seq?: number, [field: string]: unknown}} WireEvent */

/** The longest text of one event in bytes of UTF-8, as the edge takes it. */
const TEXT_BYTES_MAX = 1_024;
/** The longest clipboard in bytes of UTF-8, as the edge takes it. */
export const CLIPBOARD_BYTES_MAX = 256 * 1_024;

/** Gathers events and hands them out as frames. */
export class EventQueue {
  /** @param {number} [seq]  The number of the first event. */
  constructor(seq = 1) {
    this.seq = seq;
    /** @type {WireEvent[]} */
    this.ready = [];
    /** @type {{x: number, y: number} | null} */
    this.moved = null;
    this.turned = { dx: 0, dy: 0 };
    this.wheeled = { dx: 0, dy: 0 };
  }

  /** The pointer is at this fraction of the picture. @param {number} x @param {number} y */
  handleMove(x, y) {
    this.moved = { x: fraction(x), y: fraction(y) };
  }

  /** The locked pointer moved by so many pixels of the picture. @param {number} dx @param {number} dy */
  handleRelative(dx, dy) {
    this.turned.dx += dx;
    this.turned.dy += dy;
  }

  /** The wheel turned by so many notches. @param {number} dx @param {number} dy */
  handleWheel(dx, dy) {
    this.wheeled.dx += dx;
    this.wheeled.dy += dy;
  }

  /** @param {Discrete} event */
  handleDiscrete(event) {
    this.settleMotion();
    if (event.t === "release") {
      this.ready.push(event);
    } else if (event.t === "text") {
      for (const text of pieces(event.text, TEXT_BYTES_MAX)) this.number({ ...event, text });
    } else if (event.t === "button" && event.x !== undefined && event.y !== undefined) {
      this.number({ ...event, x: fraction(event.x), y: fraction(event.y) });
    } else {
      this.number(event);
    }
  }

  /** The events since the last call, or null. @returns {WireEvent[] | null} */
  takeFrame() {
    this.settleMotion();
    if (this.ready.length === 0) return null;
    const frame = this.ready;
    this.ready = [];
    return frame;
  }

  settleMotion() {
    if (this.moved) this.number({ t: "move", ...this.moved });
    if (this.turned.dx !== 0 || this.turned.dy !== 0) this.number({ t: "relative", ...this.turned });
    if (this.wheeled.dx !== 0 || this.wheeled.dy !== 0) this.number({ t: "wheel", ...this.wheeled });
    this.moved = null;
    this.turned = { dx: 0, dy: 0 };
    this.wheeled = { dx: 0, dy: 0 };
  }

  /** @param {{t: string, [field: string]: unknown}} event */
  number(event) {
    this.ready.push({ ...event, seq: this.seq });
    this.seq += 1;
  }
}

/**
 * Cuts a text into pieces of at most so many bytes, never inside a character.
 * @param {string} text
 * @param {number} limit
 * @returns {string[]}
 */
export function pieces(text, limit) {
  const out = [];
  let piece = "";
  let size = 0;
  for (const character of text) {
    const bytes = utf8Length(character);
    if (size + bytes > limit && piece !== "") {
      out.push(piece);
      piece = "";
      size = 0;
    }
    piece += character;
    size += bytes;
  }
  if (piece !== "") out.push(piece);
  return out;
}

/** @param {string} text */
export function utf8Length(text) {
  return new TextEncoder().encode(text).byteLength;
}

/** @param {number} value */
function fraction(value) {
  return Number.isFinite(value) ? Math.min(1, Math.max(0, value)) : 0;
}
