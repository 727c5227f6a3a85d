// One connection to an entry: WebTransport, or a WebSocket where that is missing or does not get through.

import { Broadcast, Connection as Moq, Path, Time } from "../../vendor/moq.js";
import { broadcastNames, moqUrl, websocketUrl, writeJson } from "./protocol.js";

/** @typedef {import("../shared/types.js").Ticket} Ticket */
/** @typedef {import("./events.js").WireEvent} WireEvent */

/**
 * Whether to try everything and find out what is wrong, or to give up soon because other entries are waiting to be tried:
 * then only the transport that worked before is used.
 * @typedef {"thorough" | {only: "webtransport" | "websocket"}} Haste
 */

/** One transport to one entry has this long when others are waiting, in milliseconds. */
const HASTY_LIMIT_MS = 1_500;
/** WebTransport has this long before the WebSocket is tried: three lost handshake packets. */
const WEBTRANSPORT_LIMIT_MS = 3_000;
/** The same for the WebSocket, after which the entry counts as unreachable. */
const WEBSOCKET_LIMIT_MS = 5_000;
/** The events track starts a new group after this many frames: the library keeps 1,024 of a group. */
const EVENTS_PER_GROUP = 1_000;
/** Groups that are not the latest are kept this long for an edge that subscribes late, in milliseconds. */
const INPUT_KEPT_MS = 5_000;

/** Why no connection came about. `kind` says what to tell the person. */
export class ConnectError extends Error {
  /** @param {"no_transport" | "unreachable" | "refused" | "certificate"} kind @param {string} entry */
  constructor(kind, entry) {
    super(`${kind}: ${entry}`);
    this.name = "ConnectError";
    this.kind = kind;
    this.entry = entry;
  }
}

/** An open connection for one ticket. */
export class Connection {
  /**
   * @param {Ticket} ticket
   * @param {AbortSignal} signal
   * @param {Haste} haste
   * @returns {Promise<Connection>}
   */
  static async open(ticket, signal, haste) {
    return new Connection(ticket, await connect(ticket, signal, haste));
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

/**
 * @param {Ticket} ticket
 * @param {AbortSignal} signal
 * @param {Haste} haste
 */
async function connect(ticket, signal, haste) {
  const websocket = websocketUrl(ticket);
  const webtransport = Moq.isWebTransportSupported();
  if (!webtransport && !websocket) throw new ConnectError("no_transport", ticket.entry.site);
  const hasty = haste !== "thorough";
  if (webtransport && !(hasty && haste.only === "websocket")) {
    try {
      return await Moq.connect(moqUrl(ticket), {
        webtransport: pinned(ticket),
        websocket: { enabled: false },
        signal: AbortSignal.any([signal, AbortSignal.timeout(hasty ? HASTY_LIMIT_MS : WEBTRANSPORT_LIMIT_MS)]),
      });
    } catch {
      signal.throwIfAborted();
    }
  }
  if (websocket && !(hasty && haste.only === "webtransport")) {
    try {
      return await Moq.connect(websocket, {
        // Where the browser has WebTransport the library dials that too; the pin lets it win if it does get through.
        webtransport: pinned(ticket),
        websocket: { enabled: true, url: websocket, delay: 0 },
        signal: AbortSignal.any([signal, AbortSignal.timeout(hasty ? HASTY_LIMIT_MS : WEBSOCKET_LIMIT_MS)]),
      });
    } catch {
      signal.throwIfAborted();
    }
  }
  throw new ConnectError(hasty ? "unreachable" : await diagnose(ticket, webtransport), ticket.entry.site);
}

/** @param {Ticket} ticket */
function pinned(ticket) {
  return ticket.entry.certificate_sha256 ? { serverCertificateHashes: [{ value: ticket.entry.certificate_sha256 }] } : {};
}

/**
 * A browser tells nothing of why WebTransport failed, so ask the entry in ways that can fail only for one reason each.
 * @param {Ticket} ticket
 * @param {boolean} webtransport
 * @returns {Promise<"unreachable" | "refused" | "certificate">}
 */
async function diagnose(ticket, webtransport) {
  if (webtransport && (await opensPing(ticket))) return "refused";
  if (webtransport && (await answersHttp(ticket))) return "certificate";
  return "unreachable";
}

/** Whether the entry answers at all. @param {Ticket} ticket @returns {Promise<boolean>} */
export async function opensPing(ticket) {
  try {
    const transport = openPing(ticket.entry);
    const ready = await Promise.race([transport.ready.then(() => true), delay(HASTY_LIMIT_MS).then(() => false)]);
    transport.close();
    return ready;
  } catch {
    return false;
  }
}

/** @param {Ticket} ticket @returns {Promise<boolean>} */
async function answersHttp(ticket) {
  // With a certificate to pin, no browser takes the entry's TLS, but the same port answers without.
  const scheme = ticket.entry.certificate_sha256 ? "http" : "https";
  try {
    await fetch(`${scheme}://${ticket.entry.address}/healthz`, { mode: "no-cors", signal: AbortSignal.timeout(HASTY_LIMIT_MS) });
    return true;
  } catch {
    return false;
  }
}

/**
 * Opens the entry's echo, which needs no token.
 * @param {import("../shared/types.js").Entry} entry
 * @returns {WebTransport}
 */
export function openPing(entry) {
  /** @type {WebTransportOptions} */
  const options = { allowPooling: false };
  if (entry.certificate_sha256) {
    options.serverCertificateHashes = [{ algorithm: "sha-256", value: hexBytes(entry.certificate_sha256) }];
  }
  const transport = new WebTransport(`https://${entry.address}/ping`, options);
  // Both promises reject on failure; whoever waits for `ready` hears of it.
  transport.closed.catch(() => undefined);
  return transport;
}

/** @param {string} hex @returns {Uint8Array<ArrayBuffer>} */
function hexBytes(hex) {
  return Uint8Array.from(hex.match(/[0-9a-f]{2}/gi) ?? [], (pair) => Number.parseInt(pair, 16));
}

/** @param {number} bytes */
export function randomHex(bytes) {
  return [...crypto.getRandomValues(new Uint8Array(bytes))].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** @param {number} ms @returns {Promise<void>} */
export function delay(ms) {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
