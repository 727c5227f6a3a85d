// How the viewer turns around the event: a drag is followed, a throw runs out, a step is eased. Pure: time is an
// argument, in milliseconds; angles are degrees and grow without end, so that there is no seam to jump over.

import { angle } from "./view.js";

/** What is left of a way is a third of it after this long. Short enough to feel held, long enough to be seen. */
const EASE_MS = 160;
/** This near is there, in degrees. */
const THERE = 0.05;
/** A throw is judged by the drag's last so many milliseconds. */
const THROW_MS = 90;
/** A throw runs on for as long as this at the hand's speed, in seconds. */
const THROW_RUN = 0.22;
/** The fastest throw, in degrees a second: a turn and a half. */
const THROW_MAX = 540;

/** Where the viewer stands, and where they are about to. */
export class Turn {
  /** @param {number} at */
  constructor(at) {
    this.at = at;
    this.target = at;
    this.dragging = false;
    /** @type {{at: number, now: number}[]} */
    this.drag = [];
    this.now = 0;
  }

  /** The hand holds the event. @param {number} now */
  handleDragStart(now) {
    this.tick(now);
    this.target = this.at;
    this.dragging = true;
    this.drag = [{ at: this.at, now }];
  }

  /** The hand turned it so far. @param {number} degrees @param {number} now */
  handleDrag(degrees, now) {
    if (!this.dragging) return;
    this.now = now;
    this.at += degrees;
    this.target = this.at;
    this.drag.push({ at: this.at, now });
    while (this.drag.length > 2 && this.drag[0].now < now - THROW_MS) this.drag.shift();
  }

  /**
   * The hand let go: it comes to rest at the place nearest to where its speed would lead.
   * @param {number[]} rests  Bearings to rest at; none means anywhere.
   * @param {number} now
   */
  handleDragEnd(rests, now) {
    if (!this.dragging) return;
    this.dragging = false;
    const [first] = this.drag;
    const span = (now - first.now) / 1_000;
    const held = this.drag[this.drag.length - 1].now < now - THROW_MS;
    const speed = held || span <= 0 ? 0 : (this.at - first.at) / span;
    const run = Math.max(-THROW_MAX, Math.min(THROW_MAX, speed)) * THROW_RUN;
    this.turnTo(nearest(rests, this.at + run) ?? this.at + run, this.at + run, now);
  }

  /** Goes there by the shorter way. @param {number} bearing @param {number} now */
  handleGoTo(bearing, now) {
    this.tick(now);
    this.turnTo(bearing, this.at, now);
  }

  /** Goes to the next place in a direction. @param {number[]} rests @param {1 | -1} direction  1 is counterclockwise. @param {number} now */
  handleStep(rests, direction, now) {
    this.tick(now);
    let best = Infinity;
    for (const rest of rests) {
      const ahead = (((rest - this.target) * direction) % 360 + 360) % 360;
      // What it stands at, or is about to, is no step.
      if (ahead > 1 && ahead < 359 && ahead < best) best = ahead;
    }
    if (best < Infinity) this.target += best * direction;
  }

  /** @param {number} bearing @param {number} near @param {number} now */
  turnTo(bearing, near, now) {
    this.now = now;
    this.target = near + angle(bearing - near);
  }

  /** Moves time forward. @param {number} now @returns {number}  The angle now. */
  tick(now) {
    const passed = Math.max(0, now - this.now);
    this.now = Math.max(this.now, now);
    if (this.dragging || this.at === this.target) return this.at;
    const rest = (this.target - this.at) * Math.exp(-passed / EASE_MS);
    this.at = Math.abs(rest) < THERE ? this.target : this.target - rest;
    return this.at;
  }

  /** Whether time alone changes the angle. */
  get moving() {
    return !this.dragging && this.at !== this.target;
  }
}

/** @param {number[]} rests @param {number} at @returns {number | null} */
function nearest(rests, at) {
  let best = null;
  for (const rest of rests) {
    if (best === null || Math.abs(angle(rest - at)) < Math.abs(angle(best - at))) best = rest;
  }
  return best;
}
