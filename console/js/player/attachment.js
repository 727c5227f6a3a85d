// One terminal connection with everything that runs over it. Two may live at once while the picture changes over.

import { ReceiptReport } from "../shared/report.js";
import { delay } from "../shared/transport.js";
import { AudioPipeline } from "./audio.js";
import { Connection } from "./connection.js";
import { readCursorFrame, readPong, readStatus } from "./protocol.js";
import { VideoPipeline } from "./video.js";

/** @typedef {import("../shared/types.js").Ticket} Ticket */
/** @typedef {import("./protocol.js").Status} Status */
/** @typedef {import("./protocol.js").Hello} Hello */
/** @typedef {import("./video.js").Picture} Picture */

/** @typedef {{frame: VideoFrame, picture: Picture}} Held */

/**
 * @typedef {object} Listener
 * @property {(attachment: Attachment, status: Status) => void} onStatus
 * @property {(attachment: Attachment, held: Held) => void} onPicture  Only once promoted.
 * @property {(attachment: Attachment, cursor: import("./protocol.js").CursorFrame) => void} onCursor
 * @property {(attachment: Attachment) => void} onPong
 * @property {(attachment: Attachment) => void} onClosed  The connection ended by itself.
 * @property {(bytes: number) => void} onBytes
 */

/** How often the edge hears how pictures arrive, in milliseconds. */
const REPORT_EVERY_MS = 200;
/** How often the connection is proven alive, in milliseconds. */
const PING_EVERY_MS = 500;
/** Pings whose answer is still waited for; older ones are lost. */
const PINGS_WAITING_MAX = 16;
/** After a side track ended it is asked for again this soon, in milliseconds. */
const SUBSCRIBE_AGAIN_MS = 250;
/** Messages of side tracks that are older than this are not sent any more, in milliseconds. */
const SIDE_KEPT_MS = 2_000;
/** A picture of the same instance that stays behind the shown one this long is taken all the same, in milliseconds. */
const CATCH_UP_LIMIT_MS = 400;
/** An app that says it is starting is waited for this long after its first picture, in milliseconds. */
const STARTING_LIMIT_MS = 4_000;

/** One connection's tracks, pings and reports. */
export class Attachment {
  /**
   * @param {Ticket} ticket
   * @param {Listener} listener
   * @param {AbortSignal} signal
   * @param {import("../shared/transport.js").Haste} haste
   * @returns {Promise<Attachment>}
   */
  static async open(ticket, listener, signal, haste) {
    return new Attachment(await Connection.open(ticket, signal, haste), listener);
  }

  /** @param {Connection} connection @param {Listener} listener */
  constructor(connection, listener) {
    this.connection = connection;
    this.ticket = connection.ticket;
    this.listener = listener;
    this.report = new ReceiptReport(performance.now());
    this.promoted = false;
    this.closed = false;
    /** @type {Held | null} */
    this.held = null;
    this.firstPictureAt = 0;
    /** When the app's node last showed or said something, answers to pings left out. Zero: never. */
    this.heardAt = 0;
    /** @type {Hello | null} */
    this.hello = null;
    this.appState = "";
    this.roundTripMs = NaN;
    /** Whether any ping was ever answered. */
    this.answered = false;
    this.answers = 0;
    /** Whether the connection ended by itself. */
    this.lost = false;
    /** @type {import("./protocol.js").CursorFrame | null} */
    this.cursor = null;
    this.cursorGroup = -1;
    this.progressed = Promise.withResolvers();
    /** @type {Map<number, number>} */
    this.pings = new Map();
    this.pingId = 0;
    /** @type {AudioPipeline | null} */
    this.audio = null;
    this.video = new VideoPipeline({
      connection,
      report: this.report,
      onPicture: (frame, picture) => this.handlePicture(frame, picture),
      onBytes: listener.onBytes,
    });
    void this.video.run();
    void this.readTrack("status", 250, (payload) => this.handleStatus(payload));
    void this.readTrack("cursor", 150, (payload, group) => this.handleCursor(payload, group));
    void this.readTrack("pong", 252, (payload) => this.handlePong(payload));
    this.timers = [setInterval(() => this.sendReport(), REPORT_EVERY_MS), setInterval(() => this.sendPing(), PING_EVERY_MS)];
    this.sendPing();
    void connection.closed.then(() => {
      if (this.closed) return;
      this.lost = true;
      this.tellProgress();
      listener.onClosed(this);
    });
  }

  /**
   * Reads a side track until the connection ends. Groups are read side by side: the newest may stay open while an older
   * one still arrives, and messages that are said once come in groups of their own.
   * @param {string} name
   * @param {number} priority
   * @param {(payload: Uint8Array, group: number) => void} handle
   */
  async readTrack(name, priority, handle) {
    while (!this.closed && !this.connection.over) {
      const subscriber = this.connection.screen.track(name).subscribe({ priority, latencyMax: SIDE_KEPT_MS });
      try {
        for (;;) {
          const group = await subscriber.recvGroup();
          if (!group || this.closed) break;
          void this.readGroup(group, handle);
        }
      } catch {
        // Not there yet, or gone.
      }
      subscriber.close();
      await delay(SUBSCRIBE_AGAIN_MS);
    }
  }

  /**
   * @param {import("../../vendor/moq.js").Group.Consumer} group
   * @param {(payload: Uint8Array, group: number) => void} handle
   */
  async readGroup(group, handle) {
    for (;;) {
      // A group that aged out has nothing more to say.
      const frame = await group.readFrame().catch(() => undefined);
      if (!frame || this.closed) return;
      handle(frame.payload, group.sequence);
    }
  }

  /** @param {VideoFrame} frame @param {Picture} picture */
  handlePicture(frame, picture) {
    this.heardAt = performance.now();
    if (this.firstPictureAt === 0) this.firstPictureAt = this.heardAt;
    if (this.promoted) {
      this.listener.onPicture(this, { frame, picture });
      return;
    }
    this.held?.frame.close();
    this.held = { frame, picture };
    this.tellProgress();
  }

  /** Resolves when something about this attachment changed. @returns {Promise<unknown>} */
  progress() {
    return this.progressed.promise;
  }

  tellProgress() {
    this.progressed.resolve(undefined);
    this.progressed = Promise.withResolvers();
  }

  /** @param {Uint8Array} payload */
  handleStatus(payload) {
    const status = readStatus(payload);
    if (!status) return;
    this.heardAt = performance.now();
    if (status.t === "hello") {
      // It is said again whenever something else was said, so that whoever joins hears it.
      if (JSON.stringify(status.hello) === JSON.stringify(this.hello)) return;
      this.hello = status.hello;
    }
    if (status.t === "app" && status.state === this.appState) return;
    if (status.t === "app") this.appState = status.state;
    this.tellProgress();
    this.listener.onStatus(this, status);
  }

  /** @param {Uint8Array} payload @param {number} group */
  handleCursor(payload, group) {
    const cursor = readCursorFrame(payload);
    // An older shape that comes late is not the shape any more.
    if (!cursor || group < this.cursorGroup) return;
    this.cursorGroup = group;
    this.cursor = cursor;
    this.listener.onCursor(this, cursor);
  }

  /** @param {Uint8Array} payload */
  handlePong(payload) {
    const pong = readPong(payload);
    if (!pong || !this.pings.has(pong.id)) return;
    const ms = performance.now() - pong.at;
    // Everything sent before is answered or lost: the track keeps only its newest groups.
    for (const id of this.pings.keys()) if (id <= pong.id) this.pings.delete(id);
    // The first answer also waited for the tracks to be set up, so the second replaces it.
    const settled = this.answers > 1;
    this.roundTripMs = settled ? this.roundTripMs * 0.75 + ms * 0.25 : ms;
    this.answered = true;
    this.answers += 1;
    this.listener.onPong(this);
  }

  sendPing() {
    this.pingId += 1;
    const at = performance.now();
    this.pings.set(this.pingId, at);
    if (this.pings.size > PINGS_WAITING_MAX) {
      const [oldest] = this.pings.keys();
      this.pings.delete(oldest);
    }
    this.connection.sendControl({ t: "ping", id: this.pingId, at });
  }

  sendReport() {
    this.video.nudge();
    const report = this.report.finish(performance.now(), { decodeQueue: this.video.decodeQueue, roundTripMs: this.roundTripMs });
    this.connection.sendControl({ ...report });
  }

  /** Pings without an answer, and for how long there was none. @param {number} now */
  silence(now) {
    const [first = now] = this.pings.values();
    // The track of answers may not be set up yet when the picture is: until it is, that counts as a sign of life too.
    const since = this.answered ? first : Math.max(first, this.heardAt);
    return { unanswered: this.pings.size, sinceMs: now - since };
  }

  /**
   * Whether the hidden picture may replace the shown one: it has caught up, or is of a new instance that runs.
   * @param {{epoch: number, timestamp: number} | null} shown
   * @param {number} now
   */
  isReady(shown, now) {
    if (!this.held) return false;
    const waited = now - this.firstPictureAt;
    if (this.appState === "starting" && waited < STARTING_LIMIT_MS) return false;
    if (!shown || shown.epoch !== this.ticket.epoch) return true;
    return this.held.picture.timestamp >= shown.timestamp || waited > CATCH_UP_LIMIT_MS;
  }

  /** Whether the app's node has said anything at all over this connection. */
  get heard() {
    return this.heardAt > 0 || this.answered;
  }

  /** From now on pictures go to the screen. @returns {Held | null} */
  promote() {
    this.promoted = true;
    const held = this.held;
    this.held = null;
    return held;
  }

  /** @param {import("./audio.js").Speaker} speaker */
  startAudio(speaker) {
    if (this.audio || this.closed) return;
    this.audio = new AudioPipeline(this.connection, speaker);
    void this.audio.run();
  }

  stopAudio() {
    this.audio?.close();
    this.audio = null;
  }

  close() {
    if (this.closed) return;
    this.closed = true;
    for (const timer of this.timers) clearInterval(timer);
    this.stopAudio();
    this.video.close();
    this.held?.frame.close();
    this.held = null;
    this.connection.close();
  }
}
