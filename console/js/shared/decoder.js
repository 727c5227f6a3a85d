// A chain of pictures on its way through a decoder: each builds on the one before, and only a keyframe begins anew.

/** Decodes pictures while their chain holds. */
export class ChainDecoder {
  /**
   * @param {object} parts
   * @param {(frame: VideoFrame) => void} parts.onOutput  Takes the frame over.
   * @param {() => void} parts.onError  What follows cannot be decoded.
   */
  constructor(parts) {
    this.onOutput = parts.onOutput;
    this.onError = parts.onError;
    /** @type {VideoDecoder | null} */
    this.decoder = null;
    this.codec = "";
    /** Whether nothing but a keyframe is of use. */
    this.waitingForKeyframe = true;
  }

  /** Makes the decoder fit a keyframe. @param {{name: string, codec: string}} codec  A name for what makes another configuration. */
  begin({ name, codec }) {
    if (!this.decoder || this.decoder.state === "closed") {
      this.decoder = this.makeDecoder();
      this.codec = "";
    }
    if (name !== this.codec) {
      this.codec = name;
      this.decoder.configure({ codec, optimizeForLatency: true });
    }
    this.waitingForKeyframe = false;
  }

  makeDecoder() {
    const decoder = new VideoDecoder({
      output: (frame) => this.onOutput(frame),
      error: () => {
        if (this.decoder === decoder) this.onError();
      },
    });
    return decoder;
  }

  /** @param {boolean} keyframe @param {number} timestamp  Microseconds. @param {Uint8Array} data */
  decode(keyframe, timestamp, data) {
    try {
      this.decoder?.decode(new EncodedVideoChunk({ type: keyframe ? "key" : "delta", timestamp, data }));
    } catch {
      this.onError();
    }
  }

  /** Forgets everything up to the next keyframe. */
  reset() {
    this.waitingForKeyframe = true;
    if (this.decoder && this.decoder.state !== "closed") this.decoder.close();
    this.decoder = null;
  }

  /** Pictures inside. */
  get queue() {
    return this.decoder?.decodeQueueSize ?? 0;
  }
}
