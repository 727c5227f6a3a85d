// What a terminal says and hears over one connection to an entry.

import { Broadcast, Path, Time } from "../../vendor/moq.js";
import { connect, randomHex } from "../shared/transport.js";
import { broadcastNames, wayOf, writeJson } from "./protocol.js";

/** @typedef {import("../shared/types.js").Ticket} Ticket */
/** @typedef {import("./events.js").WireEvent} WireEvent */

/** The events track starts a new group after this many frames: the library keeps 1,024 of a group. */
const EVENTS_PER_GROUP = 1_000;
/** Groups that are not the latest are kept this long for an edge that subscribes late, in milliseconds. */
const INPUT_KEPT_MS = 5_000;

/** An open connection for one ticket. */
export class Connection {
  /**
   * @param {Ticket} ticket
   * @param {AbortSignal} signal
   * @param {import("../shared/transport.js").Haste} haste
   * @returns {Promise<Connection>}
   */
  static async open(ticket, signal, haste) {
    return new Connection(ticket, await connect(wayOf(ticket), signal, haste));
  }

  /**
   * @param {Ticket} ticket
   * @param {import("../../vendor/moq.js").Connection.Established} moq
   */
  constructor(ticket, moq) {
    this.ticket = ticket;
    this.moq = moq;
    this.transport = moq.transport;
    this.names = broadcastNames(ticket, randomHex(8));
    this.screen = moq.consume(Path.from(this.names.screen));
    this.input = new Broadcast.Producer();
    this.events = this.input.createTrack("events", { latencyMax: INPUT_KEPT_MS, priority: 255, ordered: true });
    this.control = this.input.createTrack("control", { latencyMax: INPUT_KEPT_MS, priority: 254 });
    /** @type {import("../../vendor/moq.js").Group.Producer | null} */
    this.group = null;
    this.groupFrames = 0;
    this.closing = false;
    /** Whether nothing goes over it any more, whoever ended it. */
    this.over = false;
    moq.publish(Path.from(this.names.input), this.input);
    /** Settles when the connection is gone, whoever ended it. */
    this.closed = moq.closed
      .catch(() => undefined)
      .then(() => {
        this.over = true;
      });
  }

  /** @param {WireEvent[]} events */
  sendEvents(events) {
    if (this.over) return;
    if (!this.group || this.groupFrames >= EVENTS_PER_GROUP) {
      this.group?.close();
      this.group = this.events.appendGroup();
      this.groupFrames = 0;
    }
    this.group.writeFrame({ payload: writeJson(events), timestamp: Time.Timestamp.now() });
    this.groupFrames += 1;
  }

  /** @param {{t: string, [field: string]: unknown}} message */
  sendControl(message) {
    if (this.over) return;
    this.control.writeFrame({ payload: writeJson(message), timestamp: Time.Timestamp.now() });
  }

  close() {
    if (this.closing) return;
    this.closing = true;
    this.over = true;
    this.group?.close();
    this.input.close();
    this.screen.close();
    this.moq.close();
  }
}
