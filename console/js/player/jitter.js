// The buffer between sound as it arrives and sound as it is played. Pure: counts in samples per channel.
//
// It waits until TARGET is there, plays, and when arrivals outrun the clock so far that LIMIT is passed it skips to the
// newest TARGET. Running dry means waiting for TARGET again, so one late packet is one gap and not a stutter.

/** 50 ms at 48 kHz. */
export const TARGET_SAMPLES = 2_400;
/** 130 ms at 48 kHz. */
export const LIMIT_SAMPLES = 6_240;

/** A ring of stereo samples. */
export class JitterBuffer {
  /** @param {number} [target] @param {number} [limit] */
  constructor(target = TARGET_SAMPLES, limit = LIMIT_SAMPLES) {
    this.target = target;
    this.limit = limit;
    this.size = limit * 2;
    this.left = new Float32Array(this.size);
    this.right = new Float32Array(this.size);
    this.readAt = 0;
    this.filled = 0;
    this.playing = false;
    /** Times the buffer ran dry. */
    this.underruns = 0;
    /** Samples skipped because too many were waiting. */
    this.skipped = 0;
  }

  /** @param {Float32Array} left @param {Float32Array} right */
  push(left, right) {
    const count = Math.min(left.length, right.length, this.size);
    // More than fits only when nothing was read for long: the oldest go.
    if (this.filled + count > this.size) this.skip(this.filled + count - this.size);
    for (let i = 0; i < count; i += 1) {
      const at = (this.readAt + this.filled + i) % this.size;
      this.left[at] = left[i];
      this.right[at] = right[i];
    }
    this.filled += count;
    if (this.filled > this.limit) this.skip(this.filled - this.target);
    if (this.filled >= this.target) this.playing = true;
  }

  /** Fills both with sound, or with silence while waiting. @param {Float32Array} left @param {Float32Array} right */
  pull(left, right) {
    if (!this.playing) {
      left.fill(0);
      right.fill(0);
      return;
    }
    const count = Math.min(left.length, this.filled);
    for (let i = 0; i < count; i += 1) {
      const at = (this.readAt + i) % this.size;
      left[i] = this.left[at];
      right[i] = this.right[at];
    }
    this.readAt = (this.readAt + count) % this.size;
    this.filled -= count;
    if (count < left.length) {
      left.fill(0, count);
      right.fill(0, count);
      this.playing = false;
      this.underruns += 1;
    }
  }

  clear() {
    this.filled = 0;
    this.playing = false;
  }

  /** @param {number} count */
  skip(count) {
    const samples = Math.min(count, this.filled);
    this.readAt = (this.readAt + samples) % this.size;
    this.filled -= samples;
    this.skipped += samples;
  }
}
