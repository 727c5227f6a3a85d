// Measurements that overlays show and tests read. Pure: time is an argument, in milliseconds.

/**
 * @param {Iterable<number>} values
 * @param {number} share  0.5 is the median.
 * @returns {number}  NaN of nothing.
 */
export function percentile(values, share) {
  const sorted = [...values].sort((a, b) => a - b);
  if (sorted.length === 0) return NaN;
  return sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))];
}

/** The last so many values. */
export class Samples {
  /** @param {number} limit */
  constructor(limit) {
    this.limit = limit;
    /** @type {number[]} */
    this.values = [];
  }

  /** @param {number} value */
  add(value) {
    this.values.push(value);
    if (this.values.length > this.limit) this.values.shift();
  }

  /** @param {number} share @returns {number | null} */
  at(share) {
    return this.values.length === 0 ? null : percentile(this.values, share);
  }
}

/** Counts per second over a sliding window. */
export class Rate {
  /** @param {number} windowMs */
  constructor(windowMs) {
    this.windowMs = windowMs;
    /** @type {{at: number, amount: number}[]} */
    this.events = [];
  }

  /** @param {number} now @param {number} amount */
  add(now, amount) {
    this.events.push({ at: now, amount });
    this.expire(now);
  }

  /** @param {number} now @returns {number} */
  perSecond(now) {
    this.expire(now);
    return this.events.reduce((sum, event) => sum + event.amount, 0) / (this.windowMs / 1_000);
  }

  /** @param {number} now */
  expire(now) {
    while (this.events.length > 0 && this.events[0].at < now - this.windowMs) this.events.shift();
  }
}

/** Times between pictures on the screen. */
export class Gaps {
  constructor() {
    /** @type {number | null} */
    this.lastAt = null;
    this.max = 0;
    this.frames = 0;
  }

  /** @param {number} now */
  handleDrawn(now) {
    if (this.lastAt !== null) this.max = Math.max(this.max, now - this.lastAt);
    this.lastAt = now;
    this.frames += 1;
  }

  /** Forgets the longest gap; the picture on the screen stays the last one. */
  reset() {
    this.max = 0;
  }
}
