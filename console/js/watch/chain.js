// Packets of sound, one after the other without a seam, each as near to its moment as that allows. Pure: times are
// seconds of the audio clock, timestamps milliseconds of the event.

/** Closer than this nobody hears, in seconds; the chain is bent back slowly. */
const BEND_FROM = 0.004;
/** Farther than this the chain is broken and begun anew, in seconds. */
const BREAK = 0.06;
/** How much faster or slower sound is played while the chain is bent: a fifth of a semitone. */
const BEND = 0.012;
/** The audio thread wants to know of a packet so long before, in seconds. */
export const AHEAD = 0.008;
/** Packets whose time is remembered, to tell what is heard now: two seconds of 10 ms. */
const REMEMBERED = 200;

/** Says when each packet is to be played. */
export class Chain {
  constructor() {
    /** Where the last packet ends. @type {number | null} */
    this.end = null;
    /** @type {{at: number, until: number, timestamp: number, rate: number}[]} */
    this.packets = [];
    /** Times the chain was begun anew because sound came too late. */
    this.breaks = 0;
  }

  /**
   * @param {number} timestamp
   * @param {number} duration  Of the packet, in seconds.
   * @param {number} moment  When it should be heard.
   * @param {number} now
   * @returns {{at: number, rate: number} | null}  Null when its time has passed.
   */
  handlePacket(timestamp, duration, moment, now) {
    const linked = this.end !== null && this.end >= now + AHEAD / 2 && Math.abs(moment - this.end) < BREAK;
    if (!linked && moment < now + AHEAD) return null;
    const at = linked && this.end !== null ? this.end : moment;
    if (!linked && this.end !== null) this.breaks += 1;
    const off = moment - at;
    const rate = Math.abs(off) < BEND_FROM ? 1 : 1 - Math.sign(off) * BEND;
    this.end = at + duration / rate;
    this.packets.push({ at, until: this.end, timestamp, rate });
    if (this.packets.length > REMEMBERED) this.packets.shift();
    return { at, rate };
  }

  /** The timestamp that is heard at a time, if any. @param {number} time @returns {number | null} */
  heardAt(time) {
    const packet = this.packets.findLast((it) => it.at <= time && time < it.until);
    return packet ? packet.timestamp + (time - packet.at) * packet.rate * 1_000 : null;
  }

  clear() {
    this.end = null;
    this.packets = [];
  }
}
