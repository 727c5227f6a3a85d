// The canvas: draws pictures as they are decoded, fits them into the window, wears the app's cursor.

import { Gaps, Rate } from "../shared/measure.js";
import { InputLatency } from "./measure.js";

/** @typedef {import("./video.js").Picture} Picture */

/** Rates shown to people are taken over this long, in milliseconds. */
const RATE_WINDOW_MS = 2_000;
/** A picture that was made smaller has its app's shape but for the rounding to even sides, which is less than this. */
const ROUNDING = 0.02;
/** Browsers show no cursor larger than this. */
const CURSOR_SHOWN_MAX = 128;

/** Draws onto one canvas. */
export class Screen {
  /** @param {HTMLCanvasElement} canvas */
  constructor(canvas) {
    this.canvas = canvas;
    const context = canvas.getContext("2d", { alpha: false, desynchronized: true });
    if (!context) throw new Error("this browser gives no canvas");
    this.context = context;
    this.gaps = new Gaps();
    this.latency = new InputLatency();
    this.frames = new Rate(RATE_WINDOW_MS);
    /** @type {Picture | null} */
    this.shown = null;
    this.lastInputSeq = 0;
    /** The app's own size in pixels; the picture may be smaller on a narrow link. */
    this.app = { width: 0, height: 0 };
  }

  /**
   * Draws and closes the frame.
   * @param {VideoFrame} frame
   * @param {Picture} picture
   */
  draw(frame, picture) {
    const { canvas } = this;
    if (canvas.width !== frame.displayWidth || canvas.height !== frame.displayHeight) {
      // Resizing clears the canvas; the picture follows at once, so no empty one is shown.
      canvas.width = frame.displayWidth;
      canvas.height = frame.displayHeight;
      this.fit();
    }
    this.context.drawImage(frame, 0, 0);
    frame.close();
    const now = performance.now();
    this.shown = picture;
    this.lastInputSeq = picture.inputSeq;
    this.gaps.handleDrawn(now);
    this.frames.add(now, 1);
    if (picture.inputSeq > 0) this.latency.handleDrawn(picture.inputSeq, now);
  }

  /** Makes the canvas as large as its frame allows, in the app's shape. */
  fit() {
    const { canvas } = this;
    const frame = canvas.parentElement;
    if (!frame || canvas.width === 0 || canvas.height === 0) return;
    const { width, height } = this.shape();
    const scale = Math.min(frame.clientWidth / width, frame.clientHeight / height);
    canvas.style.width = `${Math.max(1, Math.round(width * scale))}px`;
    canvas.style.height = `${Math.max(1, Math.round(height * scale))}px`;
  }

  /** The app's, so that the picture stands still while its own size follows the link; its own while the two differ. */
  shape() {
    const { app, canvas } = this;
    const differ = Math.abs((canvas.width * app.height) / (canvas.height * Math.max(1, app.width)) - 1) > ROUNDING;
    return app.height === 0 || differ ? canvas : app;
  }

  /**
   * Where a point of the window lies in the picture, as fractions. A mouse is told of in whole points, so the middle of
   * one is meant: at its edge every other pixel would be missed by one.
   * @param {number} clientX
   * @param {number} clientY
   */
  fractionAt(clientX, clientY) {
    const box = this.canvas.getBoundingClientRect();
    const middle = (/** @type {number} */ at) => Math.floor(at) + 0.5;
    return { x: (middle(clientX) - box.left) / Math.max(1, box.width), y: (middle(clientY) - box.top) / Math.max(1, box.height) };
  }

  /** Pixels of the app per pixel of the window. */
  get pixelsPerPoint() {
    const box = this.canvas.getBoundingClientRect();
    return box.width > 0 ? (this.app.width || this.canvas.width) / box.width : 1;
  }

  /** @param {import("./protocol.js").CursorFrame} cursor */
  setCursor(cursor) {
    const { style } = this.canvas;
    if (!cursor.visible) {
      style.cursor = "none";
      return;
    }
    if (cursor.width === 0 || cursor.height === 0 || Math.max(cursor.width, cursor.height) > CURSOR_SHOWN_MAX) {
      style.cursor = "default";
      return;
    }
    const bitmap = document.createElement("canvas");
    bitmap.width = cursor.width;
    bitmap.height = cursor.height;
    const image = new ImageData(new Uint8ClampedArray(cursor.rgba), cursor.width, cursor.height);
    bitmap.getContext("2d")?.putImageData(image, 0, 0);
    const hotX = Math.min(cursor.hotX, cursor.width - 1);
    const hotY = Math.min(cursor.hotY, cursor.height - 1);
    style.cursor = `url(${bitmap.toDataURL("image/png")}) ${hotX} ${hotY}, default`;
  }
}
