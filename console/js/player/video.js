// From the video track to decoded pictures: newest group first, a keyframe asked for whenever the chain is broken.

import { ChainDecoder } from "../shared/decoder.js";
import { readVideoFrame } from "../shared/frame.js";
import { readSequence } from "../shared/h264.js";
import { Samples } from "../shared/measure.js";
import { NewestFirst, keepReading } from "../shared/track.js";

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
/** After a subscription ended it is tried again this soon, in milliseconds. */
const SUBSCRIBE_AGAIN_MS = 150;
/** A decoder this far behind will not catch up by decoding everything: half a second at 60 pictures a second. */
const DECODE_QUEUE_MAX = 30;
/** Between two requests for a keyframe, in milliseconds; the edge answers at most one in 200. */
const KEYFRAME_EVERY_MS = 400;
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
    this.decoder = new ChainDecoder({ onOutput: (frame) => this.handleOutput(frame), onError: () => this.breakChain(1) });
    this.groups = new NewestFirst({
      isOver: () => this.closed,
      onFrame: (sequence, timestamp, payload) => this.handleFrame(sequence, timestamp, payload),
      onLate: () => (this.dropped += 1),
      onBroken: () => this.breakChain(1),
    });
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
    await keepReading(
      () => this.closed || this.connection.over,
      () => {
        const track = this.connection.screen.track("video").subscribe({ priority: 200, latencyMax: GROUP_KEPT_MS });
        return { track, close: () => track.close() };
      },
      (track) => this.groups.read(track),
      SUBSCRIBE_AGAIN_MS,
    );
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
    this.report.handleLoss(this.groups.advance(sequence));
    this.report.handleFrame(now, timestamp, payload.byteLength);
    this.onBytes(payload.byteLength);
    if (this.decoder.queue > DECODE_QUEUE_MAX) this.breakChain(0);
    if (frame.keyframe) {
      const sequence = readSequence(frame.data);
      if (!sequence) return this.breakChain(0);
      this.decoder.begin({ name: `${sequence.codec} ${sequence.width}x${sequence.height}`, codec: sequence.codec });
    } else if (this.decoder.waitingForKeyframe) {
      this.dropped += 1;
      this.askForKeyframe();
      return;
    }
    this.decode(frame.keyframe, { timestamp, inputSeq: frame.inputSeq, arrivedAt: now, encodeMicros: frame.encodeMicros }, frame.data);
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
    this.decoder.decode(keyframe, picture.timestamp, data);
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
    this.decoder.reset();
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
    if (this.decoder.waitingForKeyframe && performance.now() - this.startedAt > KEYFRAME_EVERY_MS) this.askForKeyframe();
  }

  get decodeQueue() {
    return this.decoder.queue;
  }

  close() {
    this.closed = true;
    this.decoder.reset();
  }
}
