// How long the picture takes to answer a hand. Pure: time is an argument, in milliseconds.

import { Samples } from "../shared/measure.js";

/** Events that no picture answered after this long changed nothing on the screen. */
const ANSWER_LIMIT_MS = 2_000;
/** Events waiting for a picture; pointer motion on a still screen would pile up. */
const WAITING_MAX = 512;

/** From sending an event to drawing the first picture made after it. */
export class InputLatency {
  constructor() {
    /** @type {{seq: number, at: number}[]} */
    this.waiting = [];
    this.samples = new Samples(200);
    /** @type {{seq: number, ms: number} | null} */
    this.last = null;
  }

  /** @param {number} seq @param {number} now */
  handleSent(seq, now) {
    this.waiting.push({ seq, at: now });
    if (this.waiting.length > WAITING_MAX) this.waiting.shift();
  }

  /** @param {number} inputSeq @param {number} now */
  handleDrawn(inputSeq, now) {
    while (this.waiting.length > 0 && this.waiting[0].seq <= inputSeq) {
      const { seq, at } = /** @type {{seq: number, at: number}} */ (this.waiting.shift());
      const ms = now - at;
      if (ms > ANSWER_LIMIT_MS) continue;
      this.samples.add(ms);
      this.last = { seq, ms };
    }
  }
}
