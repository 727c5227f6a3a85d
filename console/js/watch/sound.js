// The event's sound, in step with the picture: each packet is played when the pictures of its time are shown.

import { Samples } from "../shared/measure.js";
import { keepReading } from "../shared/track.js";
import { AHEAD, Chain } from "./chain.js";

/** @typedef {import("./attachment.js").Attachment} Attachment */
/** @typedef {import("./protocol.js").AudioInfo} AudioInfo */

/** A group of sound that is not the newest is given up after this long, in milliseconds. */
const GROUP_KEPT_MS = 300;
/** After the track ended it is asked for again this soon, in milliseconds. */
const SUBSCRIBE_AGAIN_MS = 500;
/** Sound goes before pictures: it is small, and a hole in it is heard. */
const PRIORITY = 220;
/** Where a browser does not say how long its output takes, in seconds. */
const OUTPUT_GUESS = 0.02;

/** The page's loudspeaker; outlives connections and cameras. */
export class Sound {
  /** @param {import("./playout.js").Playout} playout @param {(bytes: number) => void} onBytes */
  constructor(playout, onBytes) {
    this.playout = playout;
    this.onBytes = onBytes;
    /** @type {AudioContext | null} */
    this.context = null;
    this.chain = new Chain();
    this.packets = 0;
    this.late = 0;
    /** How much of the sound is ahead of its picture, in milliseconds. */
    this.offsets = new Samples(120);
    /** @type {Track | null} */
    this.track = null;
  }

  /** Whether sound can come out now. */
  get running() {
    return this.context?.state === "running";
  }

  /** Must be called from a click or a key. */
  async start() {
    if (typeof AudioDecoder === "undefined") throw new Error("This browser decodes no sound for pages. Current Chrome, Edge and Firefox do.");
    this.context ??= new AudioContext({ latencyHint: "interactive" });
    if (!this.running) await this.context.resume();
    return this.running;
  }

  /** Plays a camera's sound from now on. @param {Attachment} attachment @param {string} camera @param {AudioInfo} info */
  listen(attachment, camera, info) {
    if (this.track && !this.track.closed && this.track.attachment === attachment && this.track.camera === camera) return;
    this.silence();
    this.track = new Track(attachment, camera, info, this);
    void this.track.run();
  }

  silence() {
    this.track?.close();
    this.track = null;
    this.chain.clear();
    this.playout.handleSilence();
  }

  /** @param {AudioData} data */
  play(data) {
    const { context } = this;
    const lag = this.playout.delay;
    if (!context || !this.running || lag === null) return;
    const timestamp = data.timestamp / 1_000;
    const now = performance.now();
    const moment = this.clockAt(context, timestamp + lag);
    // With this delay it could just be heard in time.
    this.playout.handleSound(lag + (context.currentTime + AHEAD - moment) * 1_000, now);
    const duration = data.numberOfFrames / data.sampleRate;
    const placed = this.chain.handlePacket(timestamp, duration, moment, context.currentTime);
    if (!placed) {
      this.late += 1;
      return;
    }
    this.packets += 1;
    const source = new AudioBufferSourceNode(context, { buffer: bufferOf(context, data), playbackRate: placed.rate });
    source.connect(context.destination);
    source.start(placed.at);
  }

  /** What the audio clock shows when the page's clock shows this. @param {AudioContext} context @param {number} ms */
  clockAt(context, ms) {
    const { contextTime, performanceTime } = context.getOutputTimestamp();
    if (contextTime && performanceTime) return contextTime + (ms - performanceTime) / 1_000;
    return context.currentTime - (context.outputLatency || OUTPUT_GUESS) + (ms - performance.now()) / 1_000;
  }

  /** A picture is on the screen. @param {number} timestamp @param {number} now */
  handleDrawn(timestamp, now) {
    if (!this.context || !this.running || !this.track) return;
    const heard = this.chain.heardAt(this.clockAt(this.context, now));
    if (heard !== null) this.offsets.add(heard - timestamp);
  }
}

/** @param {AudioContext} context @param {AudioData} data */
function bufferOf(context, data) {
  const buffer = context.createBuffer(data.numberOfChannels, data.numberOfFrames, data.sampleRate);
  const plane = new Float32Array(data.numberOfFrames);
  for (let channel = 0; channel < data.numberOfChannels; channel += 1) {
    data.copyTo(plane, { planeIndex: channel, format: "f32-planar" });
    buffer.copyToChannel(plane, channel);
  }
  return buffer;
}

/** Receives and decodes one camera's sound. */
class Track {
  /** @param {Attachment} attachment @param {string} camera @param {AudioInfo} info @param {Sound} sound */
  constructor(attachment, camera, info, sound) {
    this.attachment = attachment;
    this.camera = camera;
    this.info = info;
    this.sound = sound;
    /** @type {AudioDecoder | null} */
    this.decoder = null;
    this.closed = false;
  }

  async run() {
    await keepReading(
      () => this.closed || this.attachment.over,
      () => {
        const broadcast = this.attachment.consume(this.camera);
        const track = broadcast.track("audio").subscribe({ priority: PRIORITY, latencyMax: GROUP_KEPT_MS });
        this.stop = () => {
          track.close();
          broadcast.close();
        };
        return { track, close: this.stop };
      },
      (track) => this.readTrack(track),
      SUBSCRIBE_AGAIN_MS,
    );
    this.closed = true;
  }

  /** @param {import("../../vendor/moq.js").Track.Subscriber} track */
  async readTrack(track) {
    for (;;) {
      const group = await track.nextGroup();
      if (!group || this.closed) return;
      for (;;) {
        const frame = await group.readFrame().catch(() => undefined);
        if (!frame || this.closed) break;
        this.attachment.heardAt = performance.now();
        this.sound.onBytes(frame.payload.byteLength);
        this.decode(Number(frame.timestamp.asMicros()), frame.payload);
      }
    }
  }

  /** @param {number} timestamp @param {Uint8Array} packet */
  decode(timestamp, packet) {
    if (!this.decoder || this.decoder.state === "closed") {
      const { codec, sampleRate, channels, description } = this.info;
      this.decoder = new AudioDecoder({
        output: (data) => {
          if (!this.closed) this.sound.play(data);
          data.close();
        },
        // The next packet makes a new decoder.
        error: () => undefined,
      });
      this.decoder.configure({ codec, sampleRate, numberOfChannels: channels, ...(description ? { description } : {}) });
    }
    this.decoder.decode(new EncodedAudioChunk({ type: "key", timestamp, data: packet }));
  }

  close() {
    this.closed = true;
    this.stop?.();
    if (this.decoder && this.decoder.state !== "closed") this.decoder.close();
  }
}
