// One view in one rendition: from its track to decoded pictures. Whether they are seen is decided elsewhere.

import { ChainDecoder } from "../shared/decoder.js";
import { readVideoFrame } from "../shared/frame.js";
import { readSequence } from "../shared/h264.js";
import { ReceiptReport } from "../shared/report.js";
import { NewestFirst, keepReading } from "../shared/track.js";
import { trackOf } from "./protocol.js";

/** @typedef {import("./attachment.js").Attachment} Attachment */
/** @typedef {import("./view.js").Feed} FeedName */

/**
 * A decoded picture.
 * @typedef {object} Decoded
 * @property {VideoFrame} frame
 * @property {number} timestamp  Milliseconds of the event.
 * @property {FeedName} feed
 */

/** A group that is not the newest is given up after this long, in milliseconds: its pictures are history. */
const GROUP_KEPT_MS = 250;
/** After a subscription ended it is tried again this soon, in milliseconds. */
const SUBSCRIBE_AGAIN_MS = 150;
/** A decoder this far behind will not catch up by decoding everything. */
const DECODE_QUEUE_MAX = 45;
/** Who joins receives a group from its keyframe on, in a burst that says nothing of the link. This long, in milliseconds. */
const BURST_MS = 400;
/** Pictures that are kept of what is not seen, to begin with when it is. A decoder has few to give away. */
const HELD_MAX = 3;

/** Receives and decodes one track. */
export class Feed {
  /**
   * @param {object} parts
   * @param {Attachment} parts.attachment
   * @param {FeedName} parts.name
   * @param {number} parts.priority
   * @param {(feed: Feed, decoded: Decoded) => void} parts.onDecoded  Takes the frame over and closes it.
   * @param {(bytes: number) => void} parts.onBytes
   * @param {(timestamp: number) => boolean} [parts.isHistory]  Whether a time of the event, in milliseconds, is long past.
   */
  constructor(parts) {
    this.attachment = parts.attachment;
    this.name = parts.name;
    this.priority = parts.priority;
    this.onDecoded = parts.onDecoded;
    this.onBytes = parts.onBytes;
    this.isHistory = parts.isHistory ?? (() => false);
    this.report = new ReceiptReport(performance.now());
    this.decoder = new ChainDecoder({ onOutput: (frame) => this.handleOutput(frame), onError: () => this.decoder.reset() });
    this.groups = new NewestFirst({
      isOver: () => this.closed,
      onFrame: (sequence, timestamp, payload) => this.handleFrame(sequence, timestamp, payload),
      onLate: () => (this.dropped += 1),
      onBroken: () => this.decoder.reset(),
    });
    /** When the first piece came, and the last. @type {number | null} */
    this.firstAt = null;
    /** @type {number | null} */
    this.lastAt = null;
    this.decoded = 0;
    this.dropped = 0;
    /** @type {Decoded[]} */
    this.held = [];
    this.closed = false;
    void this.run();
  }

  /** Reads until the feed is closed. */
  async run() {
    await keepReading(
      () => this.closed || this.attachment.over,
      () => {
        const broadcast = this.attachment.consume(this.name.camera);
        const track = broadcast.track(trackOf(this.name.rendition)).subscribe(this.wanted());
        this.update = () => track.update(this.wanted());
        this.stop = () => {
          track.close();
          broadcast.close();
        };
        return { track, close: this.stop };
      },
      (track) => this.groups.read(track),
      SUBSCRIBE_AGAIN_MS,
    );
  }

  /** Who joins needs nothing of the group before the newest. */
  wanted() {
    return { priority: this.priority, latencyMax: this.firstAt === null ? 0 : GROUP_KEPT_MS };
  }

  /** @param {number} sequence @param {number} timestamp @param {Uint8Array} payload */
  handleFrame(sequence, timestamp, payload) {
    const frame = readVideoFrame(payload);
    if (!frame) return;
    this.receive(sequence, timestamp, payload.byteLength);
    // What was made for an earlier viewer may still lie there, and come before what is made now.
    if (this.isHistory(timestamp / 1_000)) {
      this.decoder.waitingForKeyframe = true;
      this.dropped += 1;
      return;
    }
    if (this.decoder.queue > DECODE_QUEUE_MAX) this.decoder.reset();
    if (frame.keyframe) {
      const codec = this.codecOf(frame.data);
      if (!codec) return this.decoder.reset();
      this.decoder.begin(codec);
    } else if (this.decoder.waitingForKeyframe) {
      this.dropped += 1;
      return;
    }
    this.decoder.decode(frame.keyframe, timestamp, frame.data);
  }

  /** @param {number} sequence @param {number} timestamp @param {number} bytes */
  receive(sequence, timestamp, bytes) {
    const now = performance.now();
    this.lastAt = now;
    if (this.firstAt === null) {
      this.firstAt = now;
      this.update?.();
    }
    this.attachment.heardAt = now;
    this.onBytes(bytes);
    this.report.handleLoss(this.groups.advance(sequence));
    if (now > this.firstAt + BURST_MS && !this.isHistory(timestamp / 1_000)) this.report.handleFrame(now, timestamp, bytes);
  }

  /** @param {Uint8Array} data @returns {{name: string, codec: string} | null} */
  codecOf(data) {
    const own = this.attachment.infos.get(this.name.camera)?.video?.codec ?? "";
    // Renditions are H.264 whatever the camera sends, and say themselves which.
    if (own !== "" && !own.startsWith("avc") && this.name.rendition === "source") return { name: own, codec: own };
    const sequence = readSequence(data);
    return sequence && { name: `${sequence.codec} ${sequence.width}x${sequence.height}`, codec: sequence.codec };
  }

  /** @param {VideoFrame} frame */
  handleOutput(frame) {
    if (this.closed) {
      frame.close();
      return;
    }
    this.decoded += 1;
    this.onDecoded(this, { frame, timestamp: frame.timestamp / 1_000, feed: this.name });
  }

  /** From now on its pictures go before all of a lower priority. @param {number} priority */
  rank(priority) {
    if (this.closed || priority === this.priority) return;
    this.priority = priority;
    this.update?.();
  }

  /** Keeps a picture that is not seen. @param {Decoded} decoded */
  hold(decoded) {
    this.held.push(decoded);
    if (this.held.length > HELD_MAX) this.held.shift()?.frame.close();
  }

  /** The pictures that were kept, the oldest first; they are the caller's. */
  release() {
    return this.held.splice(0);
  }

  get decodeQueue() {
    return this.decoder.queue;
  }

  close() {
    if (this.closed) return;
    this.closed = true;
    this.stop?.();
    for (const { frame } of this.release()) frame.close();
    this.decoder.reset();
  }
}
