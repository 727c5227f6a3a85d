// Plays what the page pushes. Runs on the browser's audio thread.

import { JitterBuffer } from "./jitter.js";

/** Messages about the buffer go out this seldom, in blocks of 128 samples: about twice a second. */
const TELL_EVERY_BLOCKS = 188;

class Player extends AudioWorkletProcessor {
  constructor() {
    super();
    this.buffer = new JitterBuffer();
    this.blocks = 0;
    this.port.onmessage = (event) => {
      if (event.data === "clear") this.buffer.clear();
      else this.buffer.push(event.data.left, event.data.right);
    };
  }

  /** @param {Float32Array[][]} _inputs @param {Float32Array[][]} outputs */
  process(_inputs, outputs) {
    const [left, right] = outputs[0];
    this.buffer.pull(left, right ?? new Float32Array(left.length));
    this.blocks += 1;
    if (this.blocks % TELL_EVERY_BLOCKS === 0) {
      this.port.postMessage({ filled: this.buffer.filled, underruns: this.buffer.underruns, skipped: this.buffer.skipped });
    }
    return true;
  }
}

registerProcessor("selvedge-player", Player);
