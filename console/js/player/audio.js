// Sound: Opus packets through the browser's decoder into a worklet with a small buffer.
//
// A page may not make a sound before the person touched it, so nothing is subscribed before `start`.

import { keepReading } from "../shared/track.js";

/** @typedef {import("./connection.js").Connection} Connection */

const SAMPLE_RATE = 48_000;
const CHANNELS = 2;
/** A group of sound that is not the newest is given up after this long, in milliseconds. */
const GROUP_KEPT_MS = 150;
/** After the track ended it is asked for again this soon, in milliseconds. */
const SUBSCRIBE_AGAIN_MS = 500;

/** The page's loudspeaker; outlives connections. */
export class Speaker {
  constructor() {
    /** @type {AudioContext | null} */
    this.context = null;
    /** @type {AudioWorkletNode | null} */
    this.node = null;
    /** @type {GainNode | null} */
    this.gain = null;
    this.muted = false;
    this.state = { filled: 0, underruns: 0, skipped: 0 };
    this.packets = 0;
  }

  /** Whether sound can come out now. */
  get running() {
    return this.node !== null && this.context?.state === "running";
  }

  /** Must be called from a click or a key. @returns {Promise<boolean>} */
  async start() {
    if (!this.context) {
      this.context = new AudioContext({ sampleRate: SAMPLE_RATE, latencyHint: "interactive" });
      await this.context.audioWorklet.addModule(new URL("./audio-worklet.js", import.meta.url));
      this.node = new AudioWorkletNode(this.context, "selvedge-player", { numberOfInputs: 0, outputChannelCount: [CHANNELS] });
      this.node.port.onmessage = (event) => {
        this.state = event.data;
      };
      this.gain = this.context.createGain();
      this.gain.gain.value = this.muted ? 0 : 1;
      this.node.connect(this.gain).connect(this.context.destination);
    }
    if (this.context.state !== "running") await this.context.resume();
    return this.running;
  }

  /** @param {boolean} muted */
  setMuted(muted) {
    this.muted = muted;
    if (this.gain) this.gain.gain.value = muted ? 0 : 1;
  }

  /** @param {AudioData} data */
  play(data) {
    this.packets += 1;
    if (!this.node) return;
    const planes = [0, 1].map((channel) => {
      const plane = new Float32Array(data.numberOfFrames);
      data.copyTo(plane, { planeIndex: Math.min(channel, data.numberOfChannels - 1), format: "f32-planar" });
      return plane;
    });
    const [left, right] = planes;
    this.node.port.postMessage({ left, right }, [left.buffer, right.buffer]);
  }

  clear() {
    this.node?.port.postMessage("clear");
  }
}

/** Decodes one connection's sound into the speaker. */
export class AudioPipeline {
  /** @param {Connection} connection @param {Speaker} speaker */
  constructor(connection, speaker) {
    this.connection = connection;
    this.speaker = speaker;
    /** @type {AudioDecoder | null} */
    this.decoder = null;
    this.closed = false;
  }

  async run() {
    await keepReading(
      () => this.closed || this.connection.over,
      () => {
        const track = this.connection.screen.track("audio").subscribe({ priority: 220, latencyMax: GROUP_KEPT_MS });
        this.stop = () => track.close();
        return { track, close: this.stop };
      },
      (track) => this.readTrack(track),
      SUBSCRIBE_AGAIN_MS,
    );
  }

  /** @param {import("../../vendor/moq.js").Track.Subscriber} subscriber */
  async readTrack(subscriber) {
    for (;;) {
      const group = await subscriber.nextGroup();
      if (!group || this.closed) return;
      for (;;) {
        const frame = await group.readFrame().catch(() => undefined);
        if (!frame || this.closed) break;
        this.decode(Number(frame.timestamp.asMicros()), frame.payload);
      }
    }
  }

  /** @param {number} timestamp @param {Uint8Array} packet */
  decode(timestamp, packet) {
    if (!this.decoder || this.decoder.state === "closed") {
      this.decoder = new AudioDecoder({
        output: (data) => {
          if (!this.closed) this.speaker.play(data);
          data.close();
        },
        // The next packet makes a new decoder; Opus recovers within a packet or two.
        error: () => undefined,
      });
      this.decoder.configure({ codec: "opus", sampleRate: SAMPLE_RATE, numberOfChannels: CHANNELS });
    }
    this.decoder.decode(new EncodedAudioChunk({ type: "key", timestamp, data: packet }));
  }

  close() {
    this.closed = true;
    this.stop?.();
    if (this.decoder && this.decoder.state !== "closed") this.decoder.close();
  }
}
