// When a picture is shown: as soon as it is there, but evenly, and not before its sound. Pure: times are milliseconds
// of the page's clock; a picture's delay is the time it is decoded less its timestamp, so it has the difference of two
// clocks in it, and only how delays compare means anything.

import { percentile } from "../shared/measure.js";

/** Delays are judged over this long. */
const WINDOW_MS = 2_000;
/** So many of a window: four seconds at 60 pictures a second. */
const SAMPLES_MAX = 240;
/** This share of the pictures comes in time; waiting for the rest would cost everyone. */
const IN_TIME = 0.9;
/** Nobody waits longer than this for evenness. */
const EVEN_MAX_MS = 100;
/** Nobody waits longer than this for the sound. */
const SOUND_MAX_MS = 300;
/** Faster or slower by no more than this, in milliseconds a second: nobody hears it. */
const SLEW = 10;
/** What is farther off than this is set at once. */
const JUMP_MS = 120;
/** A new view's first picture may have come sooner than most of it will: by so much it waits, if the view before did. */
const FIRST_WAITS_MS = 20;
/** At the start, and in a new view, pictures that were kept come in a burst, later than those that follow. */
const BURST_MS = 500;

/** Decides for the pictures of what is seen, and through `delay` for the sound. */
export class Playout {
  constructor() {
    /** @type {{at: number, delay: number}[]} */
    this.pictures = [];
    /** @type {{at: number, delay: number}[]} */
    this.sounds = [];
    /** From timestamp to being shown. @type {number | null} */
    this.delay = null;
    this.since = 0;
    this.firstWaits = 0;
    this.heardSince = -Infinity;
    this.now = 0;
  }

  /** From now on the pictures of another view come. @param {number} now */
  handleView(now) {
    this.pictures = [];
    this.since = now;
    this.firstWaits = this.delay === null ? 0 : FIRST_WAITS_MS;
  }

  /** A picture is there. @param {number} timestamp @param {number} now @returns {number}  When to show it. */
  handlePicture(timestamp, now) {
    const delay = now - timestamp;
    if (this.delay === null) this.since = now;
    if (now < this.since + BURST_MS && this.pictures.length > 0 && delay < Math.min(...this.pictures.map((it) => it.delay)) - 5) this.pictures = [];
    keep(this.pictures, { at: now, delay });
    this.slew(now);
    return timestamp + (this.delay ?? delay);
  }

  /** A packet of sound could be heard at the earliest with this delay. @param {number} delay @param {number} now */
  handleSound(delay, now) {
    if (this.sounds.length === 0) this.heardSince = now;
    keep(this.sounds, { at: now, delay });
  }

  /** Nobody listens any more. */
  handleSilence() {
    this.sounds = [];
  }

  /** @param {number} now */
  slew(now) {
    const target = this.target();
    const step = (SLEW * Math.max(0, now - this.now)) / 1_000;
    this.now = now;
    // A jump is a hole in the sound, but where the sound only begins; without sound nobody notices it.
    const silent = this.sounds.length === 0;
    const falls = silent && now < this.since + BURST_MS && this.delay !== null && target < this.delay;
    if (this.delay === null || Math.abs(target - this.delay) > JUMP_MS || now < this.heardSince + BURST_MS) this.delay = target;
    else if (falls) this.delay = Math.min(this.delay, target + this.firstWaits);
    else this.delay += Math.max(-step, Math.min(step, target - this.delay));
  }

  /** How long a picture that comes as soon as any waits, in milliseconds. */
  waits() {
    return this.delay === null || this.pictures.length === 0 ? 0 : this.delay - Math.min(...this.pictures.map((it) => it.delay));
  }

  target() {
    const delays = this.pictures.map((it) => it.delay);
    const least = Math.min(...delays);
    const even = Math.min(percentile(delays, IN_TIME), least + EVEN_MAX_MS);
    if (this.sounds.length === 0) return even;
    const heard = percentile(this.sounds.map((it) => it.delay), IN_TIME);
    return Math.max(even, Math.min(heard, least + SOUND_MAX_MS));
  }
}

/** @param {{at: number, delay: number}[]} samples @param {{at: number, delay: number}} sample */
function keep(samples, sample) {
  samples.push(sample);
  while (samples.length > SAMPLES_MAX || samples[0].at < sample.at - WINDOW_MS) samples.shift();
}
