// A track as it comes in: subscribed to again whenever it ends, the newest group before all.

import { delay } from "./transport.js";

/** @typedef {import("../../vendor/moq.js").Track.Subscriber} Subscriber */
/** @typedef {import("../../vendor/moq.js").Group.Consumer} Group */

/**
 * Subscribes and reads until it is over.
 * @param {() => boolean} isOver
 * @param {() => {track: Subscriber, close: () => void}} subscribe
 * @param {(track: Subscriber) => Promise<void>} read
 * @param {number} againMs  How soon it is tried again when it ended: who publishes may just be starting.
 */
export async function keepReading(isOver, subscribe, read, againMs) {
  while (!isOver()) {
    const { track, close } = subscribe();
    try {
      await read(track);
    } catch {
      // Not there yet, or gone; the connection's end stops the loop.
    }
    close();
    if (!isOver()) await delay(againMs);
  }
}

/** Reads the groups of a track: what is older than what was read already is left out. */
export class NewestFirst {
  /**
   * @param {object} parts
   * @param {() => boolean} parts.isOver
   * @param {(sequence: number, timestamp: number, payload: Uint8Array) => void} parts.onFrame  The timestamp in microseconds.
   * @param {() => void} parts.onLate  A group was left, because a newer one has been read.
   * @param {() => void} parts.onBroken  The group that is being read broke off.
   */
  constructor(parts) {
    this.isOver = parts.isOver;
    this.onFrame = parts.onFrame;
    this.onLate = parts.onLate;
    this.onBroken = parts.onBroken;
    this.sequence = -1;
  }

  /** Reads to the end of the track. @param {Subscriber} track */
  async read(track) {
    let newest = -1;
    // A publisher that starts anew counts its groups anew.
    this.sequence = -1;
    for (;;) {
      const group = await track.recvGroup();
      if (!group || this.isOver()) return;
      if (group.sequence < newest) {
        group.close();
        continue;
      }
      newest = group.sequence;
      void this.readGroup(group);
    }
  }

  /** Takes in that a frame of this group counts. @param {number} sequence @returns {number}  How many groups were passed over. */
  advance(sequence) {
    const passed = this.sequence >= 0 ? Math.max(0, sequence - this.sequence - 1) : 0;
    this.sequence = Math.max(this.sequence, sequence);
    return passed;
  }

  /** @param {Group} group */
  async readGroup(group) {
    for (;;) {
      let frame;
      try {
        frame = await group.readFrame();
      } catch {
        // The group aged out under us. If a newer one took over nothing is missing.
        if (group.sequence === this.sequence) this.onBroken();
        return;
      }
      if (!frame || this.isOver()) return;
      if (group.sequence < this.sequence) {
        this.onLate();
        group.close();
        return;
      }
      this.onFrame(group.sequence, Number(frame.timestamp.asMicros()), frame.payload);
    }
  }
}
