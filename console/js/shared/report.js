// What the terminal tells of how the picture arrives. Pure: time is an argument, in milliseconds.

import { percentile } from "./measure.js";

/** Lateness is counted from the best arrival of this long, in seconds: clocks drift and routes change. */
const BASE_WINDOW_S = 10;
/** More frames than this in one window are not worth a better percentile. */
const SAMPLES_MAX = 256;

/**
 * @typedef {object} Report
 * @property {"report"} t
 * @property {number} received
 * @property {number} lost
 * @property {number} late_ms
 * @property {number} decode_queue
 * @property {number} round_trip_ms
 * @property {number} window_ms
 * @property {number} bytes
 */

/** Gathers arrivals and sums them up on request. */
export class ReceiptReport {
  /** @param {number} now */
  constructor(now) {
    this.since = now;
    this.received = 0;
    this.lost = 0;
    this.bytes = 0;
    /** Arrival minus timestamp of this window's frames. @type {number[]} */
    this.delays = [];
    /** The smallest delay of each of the last seconds. @type {Map<number, number>} */
    this.bases = new Map();
  }

  /**
   * @param {number} now
   * @param {number} timestampMicros
   * @param {number} bytes
   */
  handleFrame(now, timestampMicros, bytes) {
    const delay = now - timestampMicros / 1_000;
    this.received += 1;
    this.bytes += bytes;
    if (this.delays.length < SAMPLES_MAX) this.delays.push(delay);
    const second = Math.floor(now / 1_000);
    this.bases.set(second, Math.min(this.bases.get(second) ?? Infinity, delay));
    for (const old of this.bases.keys()) {
      if (old <= second - BASE_WINDOW_S) this.bases.delete(old);
    }
  }

  /** @param {number} frames */
  handleLoss(frames) {
    this.lost += frames;
  }

  /**
   * The report of the window that ends now; a new one begins.
   * @param {number} now
   * @param {{decodeQueue: number, roundTripMs: number}} state
   * @returns {Report}
   */
  finish(now, state) {
    const base = Math.min(...this.bases.values());
    /** @type {Report} */
    const report = {
      t: "report",
      received: this.received,
      lost: this.lost,
      late_ms: this.delays.length === 0 ? 0 : round(Math.max(0, percentile(this.delays, 0.95) - base)),
      decode_queue: state.decodeQueue,
      round_trip_ms: round(state.roundTripMs),
      window_ms: round(now - this.since),
      bytes: this.bytes,
    };
    this.since = now;
    this.received = 0;
    this.lost = 0;
    this.bytes = 0;
    this.delays = [];
    return report;
  }
}

/** Tenths are enough, and NaN is no JSON. @param {number} value */
function round(value) {
  return Number.isFinite(value) ? Math.round(value * 10) / 10 : 0;
}
