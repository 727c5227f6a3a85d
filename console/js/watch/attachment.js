// One connection of a viewer to an entry: which cameras are on air there, and how they are coded.

import { Path } from "../../vendor/moq.js";
import { connect, delay } from "../shared/transport.js";
import { broadcastOf, readInfo, rootOf, wayOf } from "./protocol.js";

/** @typedef {import("../shared/types.js").WatchTicket} WatchTicket */
/** @typedef {import("./protocol.js").Info} Info */

/**
 * @typedef {object} Listener
 * @property {(attachment: Attachment) => void} onCameras  A camera came, went, or is coded otherwise.
 * @property {(attachment: Attachment) => void} onClosed  The connection ended by itself.
 */

/** After a side track ended it is asked for again this soon, in milliseconds. */
const SUBSCRIBE_AGAIN_MS = 500;
/** How often the transport is asked for its round trip, in milliseconds. */
const MEASURE_EVERY_MS = 1_000;
/** Until announcements have come, what the center said counts, in milliseconds. */
const ANNOUNCED_AFTER_MS = 700;

/** What one entry offers. */
export class Attachment {
  /**
   * @param {WatchTicket} ticket
   * @param {Listener} listener
   * @param {AbortSignal} signal
   * @param {import("../shared/transport.js").Haste} haste
   */
  static async open(ticket, listener, signal, haste) {
    return new Attachment(ticket, await connect(wayOf(ticket), signal, haste), listener);
  }

  /**
   * @param {WatchTicket} ticket
   * @param {import("../../vendor/moq.js").Connection.Established} moq
   * @param {Listener} listener
   */
  constructor(ticket, moq, listener) {
    this.ticket = ticket;
    this.moq = moq;
    this.listener = listener;
    this.transport = moq.transport;
    this.event = ticket.event.name;
    /** Cameras that can be watched here. @type {Set<string>} */
    this.onAir = new Set(ticket.on_air);
    /** Those of them that this entry has told of. @type {Set<string>} */
    this.announced = new Set();
    /** @type {Map<string, Info>} */
    this.infos = new Map();
    this.roundTripMs = ticket.round_trip_ms;
    /** When anything came last, by this page's clock. */
    this.heardAt = performance.now();
    this.over = false;
    this.closing = false;
    void this.readAnnouncements();
    this.timers = [
      setInterval(() => void this.measure(), MEASURE_EVERY_MS),
      // Whom nobody announced by then is not here.
      setTimeout(() => this.tellCameras(this.announced), ANNOUNCED_AFTER_MS),
    ];
    void moq.closed
      .catch(() => undefined)
      .then(() => {
        this.over = true;
        if (!this.closing) listener.onClosed(this);
      });
  }

  /** A camera's broadcast. Whoever asks closes it. @param {string} camera */
  consume(camera) {
    return this.moq.consume(Path.from(broadcastOf(this.event, camera)));
  }

  async readAnnouncements() {
    const announced = this.moq.announced(Path.from(rootOf(this.event)));
    try {
      for (;;) {
        const news = await announced.next();
        if (!news || this.over) return;
        this.handleAnnouncement(news.path, news.active);
      }
    } catch {
      // The connection is gone, and whoever waits for its end hears of it.
    }
  }

  /** @param {string} camera @param {boolean} active */
  handleAnnouncement(camera, active) {
    if (!this.ticket.event.cameras.some(({ name }) => name === camera)) return;
    this.heardAt = performance.now();
    if (active) {
      const known = this.announced.has(camera);
      this.announced.add(camera);
      if (!known) void this.readInfos(camera);
      this.tellCameras(new Set([...this.onAir, camera]));
    } else {
      this.announced.delete(camera);
      this.infos.delete(camera);
      const left = new Set(this.onAir);
      left.delete(camera);
      this.tellCameras(left);
    }
  }

  /** @param {Set<string>} cameras */
  tellCameras(cameras) {
    if (this.over) return;
    this.onAir = new Set(cameras);
    this.listener.onCameras(this);
  }

  /** Follows how a camera is coded, while it is on air. @param {string} camera */
  async readInfos(camera) {
    while (!this.over && this.announced.has(camera)) {
      const broadcast = this.consume(camera);
      const track = broadcast.track("info").subscribe({ priority: 230 });
      try {
        for (;;) {
          const group = await track.nextGroup();
          if (!group || this.over) break;
          const frame = await group.readFrame().catch(() => undefined);
          const info = frame ? readInfo(frame.payload) : null;
          if (!info || !this.announced.has(camera)) continue;
          this.infos.set(camera, info);
          this.listener.onCameras(this);
        }
      } catch {
        // Not there yet, or gone.
      }
      track.close();
      broadcast.close();
      await delay(SUBSCRIBE_AGAIN_MS);
    }
  }

  async measure() {
    const { rtt } = await this.moq.stats().catch(() => /** @type {{rtt?: number}} */ ({}));
    if (rtt !== undefined && rtt > 0) this.roundTripMs = rtt;
  }

  close() {
    if (this.closing) return;
    this.closing = true;
    this.over = true;
    for (const timer of this.timers) clearInterval(timer);
    this.moq.close();
  }
}
