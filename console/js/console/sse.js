// Server-sent events out of a stream of text. Pure. (EventSource cannot send a token.)

/** @typedef {{event: string, data: string}} ServerEvent */

/** An event larger than this is not ours, in characters: the largest is the snapshot of a large cloud. */
const EVENT_MAX = 16 * 1_024 * 1_024;

/** Cuts text into events. */
export class EventParser {
  constructor() {
    this.rest = "";
    this.event = "";
    /** @type {string[]} */
    this.data = [];
    this.size = 0;
  }

  /**
   * @param {string} text  The next piece of the stream.
   * @returns {ServerEvent[]}
   */
  push(text) {
    this.rest += text;
    if (this.rest.length + this.size > EVENT_MAX) throw new RangeError("an event is too large");
    /** @type {ServerEvent[]} */
    const events = [];
    // The last line may still be growing; a lone CR at its end may be half of CRLF.
    const lines = this.rest.split(/\r\n|\n|\r(?!$)/);
    this.rest = lines.pop() ?? "";
    for (const line of lines) {
      const event = this.line(line);
      if (event) events.push(event);
    }
    return events;
  }

  /** @param {string} line @returns {ServerEvent | null} */
  line(line) {
    if (line === "") {
      const event = this.data.length > 0 ? { event: this.event || "message", data: this.data.join("\n") } : null;
      this.event = "";
      this.data = [];
      this.size = 0;
      return event;
    }
    const colon = line.indexOf(":");
    // A line that begins with a colon is a comment that keeps the connection open.
    if (colon === 0) return null;
    const field = colon < 0 ? line : line.slice(0, colon);
    const value = colon < 0 ? "" : line.slice(colon + 1).replace(/^ /, "");
    if (field === "event") this.event = value;
    if (field === "data") {
      this.data.push(value);
      this.size += value.length;
    }
    return null;
  }
}
