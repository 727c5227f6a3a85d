// One view in one rendition: from its track to decoded pictures. Whether they are seen is decided elsewhere.

import { readVideoFrame } from "../shared/frame.js";
import { readSequence } from "../shared/h264.js";
import { ReceiptReport } from "../shared/report.js";
import { delay } from "../shared/transport.js";
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
/** A decoder this far behind will not catch up by decoding everything. */
const DECODE_QUEUE_MAX = 45;
/** After a subscription ended it is tried again this soon, in milliseconds. */
const SUBSCRIBE_AGAIN_MS = 150;
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
    /** @type {VideoDecoder | null} */
    this.decoder = null;
    this.codec = "";
    this.sequence = -1;
    this.waitingForKeyframe = true;
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
    while (!this.closed && !this.attachment.over) {
      const broadcast = this.attachment.consume(this.name.camera);
      const track = broadcast.track(trackOf(this.name.rendition)).subscribe({ priority: this.priority, latencyMax: GROUP_KEPT_MS });
      this.stop = () => {
        track.close();
        broadcast.close();
      };
      try {
        await this.readTrack(track);
      } catch {
        // Not there yet, or gone; the connection's end stops the loop.
      }
      this.stop();
      if (!this.closed) await delay(SUBSCRIBE_AGAIN_MS);
    }
  }

  /** @param {import("../../vendor/moq.js").Track.Subscriber} track */
  async readTrack(track) {
    let newest = -1;
    // A publisher that starts anew counts its groups anew.
    this.sequence = -1;
    for (;;) {
      const group = await track.recvGroup();
      if (!group || this.closed) return;
      if (group.sequence < newest) {
        group.close();
        continue;
      }
      newest = group.sequence;
      void this.readGroup(group);
    }
  }

  /** @param {import("../../vendor/moq.js").Group.Consumer} group */
  async readGroup(group) {
    for (;;) {
      let frame;
      try {
        frame = await group.readFrame();
      } catch {
        // The group aged out under us. If a newer one took over nothing is missing.
        if (group.sequence === this.sequence) this.breakChain();
        return;
      }
      if (!frame || this.closed) return;
      if (group.sequence < this.sequence) {
        this.dropped += 1;
        group.close();
        return;
      }
      this.handleFrame(group.sequence, Number(frame.timestamp.asMicros()), frame.payload);
    }
  }

  /** @param {number} sequence @param {number} timestamp @param {Uint8Array} payload */
  handleFrame(sequence, timestamp, payload) {
    const frame = readVideoFrame(payload);
    if (!frame) return;
    this.receive(sequence, timestamp, payload.byteLength);
    // What was made for an earlier viewer may still lie there, and come before what is made now.
    if (this.isHistory(timestamp / 1_000)) {
      this.waitingForKeyframe = true;
      this.dropped += 1;
      return;
    }
    if (this.decoder && this.decoder.decodeQueueSize > DECODE_QUEUE_MAX) this.breakChain();
    if (frame.keyframe) {
      if (!this.prepare(frame.data)) return;
    } else if (this.waitingForKeyframe) {
      this.dropped += 1;
      return;
    }
    try {
      this.decoder?.decode(new EncodedVideoChunk({ type: frame.keyframe ? "key" : "delta", timestamp, data: frame.data }));
    } catch {
      this.breakChain();
    }
  }

  /** @param {number} sequence @param {number} timestamp @param {number} bytes */
  receive(sequence, timestamp, bytes) {
    const now = performance.now();
    this.firstAt ??= now;
    this.lastAt = now;
    this.attachment.heardAt = now;
    this.onBytes(bytes);
    if (sequence > this.sequence) {
      if (this.sequence >= 0) this.report.handleLoss(sequence - this.sequence - 1);
      this.sequence = sequence;
    }
    if (now > this.firstAt + BURST_MS && !this.isHistory(timestamp / 1_000)) this.report.handleFrame(now, timestamp, bytes);
  }

  /** Makes the decoder fit the keyframe. @param {Uint8Array} data @returns {boolean}  Whether it can be decoded. */
  prepare(data) {
    const codec = this.codecOf(data);
    if (!codec) {
      this.breakChain();
      return false;
    }
    if (!this.decoder || this.decoder.state === "closed") {
      this.decoder = this.makeDecoder();
      this.codec = "";
    }
    if (codec.name !== this.codec) {
      this.codec = codec.name;
      this.decoder.configure({ codec: codec.decoder, optimizeForLatency: true });
    }
    this.waitingForKeyframe = false;
    return true;
  }

  /** @param {Uint8Array} data @returns {{name: string, decoder: string} | null} */
  codecOf(data) {
    const own = this.attachment.infos.get(this.name.camera)?.video?.codec ?? "";
    // Renditions are H.264 whatever the camera sends, and say themselves which.
    if (own !== "" && !own.startsWith("avc") && this.name.rendition === "source") return { name: own, decoder: own };
    const sequence = readSequence(data);
    return sequence && { name: `${sequence.codec} ${sequence.width}x${sequence.height}`, decoder: sequence.codec };
  }

  makeDecoder() {
    const decoder = new VideoDecoder({
      output: (frame) => this.handleOutput(frame),
      error: () => {
        if (this.decoder === decoder) this.breakChain();
      },
    });
    return decoder;
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

  /** Keeps a picture that is not seen. @param {Decoded} decoded */
  hold(decoded) {
    this.held.push(decoded);
    if (this.held.length > HELD_MAX) this.held.shift()?.frame.close();
  }

  /** The pictures that were kept, the oldest first; they are the caller's. */
  release() {
    return this.held.splice(0);
  }

  /** Pictures from here on cannot be decoded until a keyframe comes. */
  breakChain() {
    this.waitingForKeyframe = true;
    if (this.decoder && this.decoder.state !== "closed") this.decoder.close();
    this.decoder = null;
  }

  get decodeQueue() {
    return this.decoder?.decodeQueueSize ?? 0;
  }

  close() {
    if (this.closed) return;
    this.closed = true;
    this.stop?.();
    for (const { frame } of this.release()) frame.close();
    this.breakChain();
  }
}
