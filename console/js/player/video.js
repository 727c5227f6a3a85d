// From the video track to decoded pictures: newest group first, a keyframe asked for whenever the chain is broken.

import { readVideoFrame } from "../shared/frame.js";
import { readSequence } from "../shared/h264.js";
import { Samples } from "../shared/measure.js";
import { delay } from "../shared/transport.js";

/** @typedef {import("./connection.js").Connection} Connection */
/** @typedef {import("../shared/report.js").ReceiptReport} ReceiptReport */

/**
 * What is known of a picture besides its pixels.
 * @typedef {object} Picture
 * @property {number} timestamp  Capture time on the instance's clock, in microseconds.
 * @property {number} inputSeq
 * @property {number} arrivedAt  Milliseconds on this page's clock.
 * @property {number} encodeMicros
 */

/** A group that is not the newest is given up after this long, in milliseconds: its pictures are history. */
const GROUP_KEPT_MS = 200;
/** A decoder this far behind will not catch up by decoding everything: half a second at 60 pictures a second. */
const DECODE_QUEUE_MAX = 30;
/** Between two requests for a keyframe, in milliseconds; the edge answers at most one in 200. */
const KEYFRAME_EVERY_MS = 400;
/** After a subscription ended it is tried again this soon, in milliseconds: the app may just be starting. */
const SUBSCRIBE_AGAIN_MS = 150;
/** Pictures inside the decoder whose description is kept. */
const DESCRIBED_MAX = 128;

/** Decodes one connection's video track. */
export class VideoPipeline {
  /**
   * @param {object} parts
   * @param {Connection} parts.connection
   * @param {ReceiptReport} parts.report
   * @param {(frame: VideoFrame, picture: Picture) => void} parts.onPicture  Takes the frame over and closes it.
   * @param {(bytes: number) => void} parts.onBytes
   */
  constructor(parts) {
    this.connection = parts.connection;
    this.report = parts.report;
    this.onPicture = parts.onPicture;
    this.onBytes = parts.onBytes;
    /** @type {VideoDecoder | null} */
    this.decoder = null;
    this.codec = "";
    this.sequence = -1;
    this.waitingForKeyframe = true;
    this.askedAt = 0;
    this.startedAt = performance.now();
    this.dropped = 0;
    this.decoded = 0;
    this.decodeMs = new Samples(120);
    /** @type {Map<number, Picture>} */
    this.described = new Map();
    this.closed = false;
  }

  /** Reads until the pipeline is closed. */
  async run() {
    while (!this.closed && !this.connection.over) {
      const subscriber = this.connection.screen.track("video").subscribe({ priority: 200, latencyMax: GROUP_KEPT_MS });
      try {
        await this.readTrack(subscriber);
      } catch {
        // Not there yet, or gone; the connection's end stops the loop.
      }
      subscriber.close();
      await delay(SUBSCRIBE_AGAIN_MS);
    }
  }

  /** @param {import("../../vendor/moq.js").Track.Subscriber} subscriber */
  async readTrack(subscriber) {
    /** @type {import("../../vendor/moq.js").Group.Consumer | null} */
    let newest = null;
    // A publisher that starts anew counts its groups anew.
    this.sequence = -1;
    for (;;) {
      const group = await subscriber.recvGroup();
      if (!group || this.closed) return;
      if (newest && group.sequence < newest.sequence) {
        group.close();
        continue;
      }
      newest = group;
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
        if (group.sequence === this.sequence) this.breakChain(1);
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

  /**
   * @param {number} sequence
   * @param {number} timestamp
   * @param {Uint8Array} payload
   */
  handleFrame(sequence, timestamp, payload) {
    const now = performance.now();
    const frame = readVideoFrame(payload);
    if (!frame) return;
    if (sequence > this.sequence) {
      if (this.sequence >= 0 && sequence > this.sequence + 1) this.report.handleLoss(sequence - this.sequence - 1);
      this.sequence = sequence;
    }
    this.report.handleFrame(now, timestamp, payload.byteLength);
    this.onBytes(payload.byteLength);
    if (this.decoder && this.decoder.decodeQueueSize > DECODE_QUEUE_MAX) this.breakChain(0);
    if (frame.keyframe) {
      if (!this.prepare(frame.data)) return;
    } else if (this.waitingForKeyframe) {
      this.dropped += 1;
      this.askForKeyframe();
      return;
    }
    this.decode(frame.keyframe, { timestamp, inputSeq: frame.inputSeq, arrivedAt: now, encodeMicros: frame.encodeMicros }, frame.data);
  }

  /**
   * Makes the decoder fit the keyframe.
   * @param {Uint8Array} data
   * @returns {boolean}  Whether it can be decoded.
   */
  prepare(data) {
    const sequence = readSequence(data);
    if (!sequence) {
      this.breakChain(0);
      return false;
    }
    if (!this.decoder || this.decoder.state === "closed") {
      this.decoder = this.makeDecoder();
      this.codec = "";
    }
    const codec = `${sequence.codec} ${sequence.width}x${sequence.height}`;
    if (codec !== this.codec) {
      this.codec = codec;
      this.decoder.configure({ codec: sequence.codec, optimizeForLatency: true });
    }
    this.waitingForKeyframe = false;
    return true;
  }

  makeDecoder() {
    const decoder = new VideoDecoder({
      output: (frame) => this.handleOutput(frame),
      error: () => {
        if (this.decoder === decoder) this.breakChain(1);
      },
    });
    return decoder;
  }

  /**
   * @param {boolean} keyframe
   * @param {Picture} picture
   * @param {Uint8Array} data
   */
  decode(keyframe, picture, data) {
    this.described.set(picture.timestamp, picture);
    if (this.described.size > DESCRIBED_MAX) {
      const [oldest] = this.described.keys();
      this.described.delete(oldest);
    }
    try {
      this.decoder?.decode(new EncodedVideoChunk({ type: keyframe ? "key" : "delta", timestamp: picture.timestamp, data }));
    } catch {
      this.breakChain(1);
    }
  }

  /** @param {VideoFrame} frame */
  handleOutput(frame) {
    const picture = this.described.get(frame.timestamp);
    this.described.delete(frame.timestamp);
    if (!picture || this.closed) {
      frame.close();
      return;
    }
    this.decoded += 1;
    this.decodeMs.add(performance.now() - picture.arrivedAt);
    this.onPicture(frame, picture);
  }

  /** Pictures from here on cannot be decoded until a keyframe comes. @param {number} lost */
  breakChain(lost) {
    if (lost > 0) this.report.handleLoss(lost);
    this.waitingForKeyframe = true;
    if (this.decoder && this.decoder.state !== "closed") this.decoder.close();
    this.decoder = null;
    this.described.clear();
    this.askForKeyframe();
  }

  askForKeyframe() {
    const now = performance.now();
    if (now - this.askedAt < KEYFRAME_EVERY_MS) return;
    this.askedAt = now;
    this.connection.sendControl({ t: "keyframe" });
  }

  /** Called now and then: asks again while there is no picture. */
  nudge() {
    if (this.waitingForKeyframe && performance.now() - this.startedAt > KEYFRAME_EVERY_MS) this.askForKeyframe();
  }

  get decodeQueue() {
    return this.decoder?.decodeQueueSize ?? 0;
  }

  close() {
    this.closed = true;
    if (this.decoder && this.decoder.state !== "closed") this.decoder.close();
    this.decoder = null;
  }
}
