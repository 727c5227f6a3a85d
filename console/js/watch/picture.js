// The canvas: shows each picture at its time, and fits it into the window.

import { Gaps, Rate } from "../shared/measure.js";

/** @typedef {import("./feed.js").Decoded} Decoded */

/** Rates shown to people are taken over this long, in milliseconds. */
const RATE_WINDOW_MS = 2_000;
/** Pictures that wait for their time; decoders have few to give away. */
const QUEUE_MAX = 10;
/** A timer is not more exact than this, in milliseconds. */
const TIMER_MS = 2;
/** So much of a picture's side may be cut to fill the window. */
const CUT = 0.12;

/** Draws onto one canvas. */
export class Picture {
  /**
   * @param {HTMLCanvasElement} canvas
   * @param {import("./playout.js").Playout} playout
   * @param {(drawn: {camera: string, rendition: string, timestamp: number, now: number}) => void} onDrawn
   */
  constructor(canvas, playout, onDrawn) {
    this.canvas = canvas;
    const context = canvas.getContext("2d", { alpha: false, desynchronized: true });
    if (!context) throw new Error("this browser gives no canvas");
    this.context = context;
    this.playout = playout;
    this.onDrawn = onDrawn;
    this.gaps = new Gaps();
    this.frames = new Rate(RATE_WINDOW_MS);
    /** @type {{decoded: Decoded, due: number}[]} */
    this.queue = [];
    /** What is on the canvas. @type {{camera: string, rendition: string, timestamp: number} | null} */
    this.shown = null;
    this.timer = 0;
    /** The part of the window that nothing stands over, from the top, in pixels. */
    this.room = { top: 0, height: 0 };
  }

  /** Another view is seen from now on. @param {Decoded[]} held  Its pictures so far. */
  show(held) {
    const [first] = held;
    this.playout.handleView(performance.now());
    this.queue = this.queue.filter(({ decoded }) => {
      const keep = first !== undefined && decoded.timestamp < first.timestamp;
      if (!keep) decoded.frame.close();
      return keep;
    });
    // Of pictures that are past only the last is of use.
    const past = held.filter(({ timestamp }) => this.shown !== null && timestamp <= this.shown.timestamp);
    const fresh = held.length > past.length;
    for (const decoded of held) {
      if (past.includes(decoded) && (fresh || decoded !== held[held.length - 1])) decoded.frame.close();
      else this.push(decoded);
    }
  }

  /** Takes a picture of what is seen. @param {Decoded} decoded */
  push(decoded) {
    const now = performance.now();
    this.queue.push({ decoded, due: this.playout.handlePicture(decoded.timestamp, now) });
    this.drawDue();
  }

  drawDue() {
    clearTimeout(this.timer);
    const now = performance.now();
    while (this.queue.length > 0) {
      const [{ decoded, due }] = this.queue;
      const crowded = this.queue.length > QUEUE_MAX;
      if (due > now + TIMER_MS && !crowded) {
        this.timer = setTimeout(() => this.drawDue(), due - now);
        return;
      }
      this.queue.shift();
      // A picture whose successor is due, too, would not be seen.
      if (this.queue.length > 0 && this.queue[0].due <= now) decoded.frame.close();
      else this.draw(decoded, now);
    }
  }

  /** @param {Decoded} decoded @param {number} now */
  draw({ frame, timestamp, feed }, now) {
    const { canvas } = this;
    if (canvas.width !== frame.displayWidth || canvas.height !== frame.displayHeight) {
      const shape = canvas.width / canvas.height;
      // Resizing clears the canvas; the picture follows at once, so no empty one is shown.
      canvas.width = frame.displayWidth;
      canvas.height = frame.displayHeight;
      if (Math.abs(shape / (canvas.width / canvas.height) - 1) > 0.01) this.fit();
    }
    this.context.drawImage(frame, 0, 0);
    frame.close();
    this.shown = { ...feed, timestamp };
    this.gaps.handleDrawn(now);
    this.frames.add(now, 1);
    this.onDrawn({ ...feed, timestamp, now });
  }

  /** Makes the canvas as large as the window, cutting a little where that fills it. */
  fit() {
    const { canvas, room } = this;
    const frame = canvas.parentElement;
    if (!frame) return;
    const [width, height] = [frame.clientWidth, room.height || frame.clientHeight];
    const inside = Math.min(width / canvas.width, height / canvas.height);
    const filling = Math.max(width / canvas.width, height / canvas.height);
    const scale = filling * (1 - CUT) <= inside ? filling : inside;
    canvas.style.width = `${Math.round(canvas.width * scale)}px`;
    canvas.style.height = `${Math.round(canvas.height * scale)}px`;
    canvas.style.marginTop = `${Math.round(room.top + (height - canvas.height * scale) / 2)}px`;
  }

  /** @param {import("./zoom.js").Zoom} zoom */
  setZoom({ scale, x, y }) {
    const frame = this.canvas.parentElement;
    this.canvas.style.transform = scale === 1 ? "" : `translate(${x * (frame?.clientWidth ?? 0)}px, ${y * (frame?.clientHeight ?? 0)}px) scale(${scale})`;
  }

  /** Forgets what waits. What is on the canvas stays. */
  clear() {
    clearTimeout(this.timer);
    for (const { decoded } of this.queue.splice(0)) decoded.frame.close();
  }
}
