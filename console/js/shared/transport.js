// One transport to an entry: WebTransport, or a WebSocket where that is missing or does not get through.

import { Connection as Moq } from "../../vendor/moq.js";

/** @typedef {import("./types.js").Entry} Entry */

/**
 * An entry and what to show it.
 * @typedef {object} Way
 * @property {Entry} entry
 * @property {string} grant  The parameter of the address, as in `token=…`.
 */

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

/**
 * @param {Way} way
 * @param {AbortSignal} signal
 * @param {Haste} haste
 * @returns {Promise<import("../../vendor/moq.js").Connection.Established>}
 */
export async function connect(way, signal, haste) {
  const { entry } = way;
  const websocket = websocketUrl(way);
  const webtransport = Moq.isWebTransportSupported();
  if (!webtransport && !websocket) throw new ConnectError("no_transport", entry.site);
  const hasty = haste !== "thorough";
  if (webtransport && !(hasty && haste.only === "websocket")) {
    try {
      return await Moq.connect(moqUrl(way), {
        webtransport: pinned(entry),
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
        webtransport: pinned(entry),
        websocket: { enabled: true, url: websocket, delay: 0 },
        signal: AbortSignal.any([signal, AbortSignal.timeout(hasty ? HASTY_LIMIT_MS : WEBSOCKET_LIMIT_MS)]),
      });
    } catch {
      signal.throwIfAborted();
    }
  }
  throw new ConnectError(hasty ? "unreachable" : await diagnose(entry, webtransport), entry.site);
}

/** Where to open WebTransport. @param {Way} way */
export function moqUrl({ entry, grant }) {
  return new URL(`https://${entry.address}/moq?${grant}`);
}

/** Where to open a WebSocket, or null if the entry has none. @param {Way} way */
export function websocketUrl({ entry, grant }) {
  if (!entry.websocket) return null;
  const url = new URL(entry.websocket);
  url.search = grant;
  return url;
}

/** @param {Entry} entry */
function pinned(entry) {
  return entry.certificate_sha256 ? { serverCertificateHashes: [{ value: entry.certificate_sha256 }] } : {};
}

/**
 * A browser tells nothing of why WebTransport failed, so ask the entry in ways that can fail only for one reason each.
 * @param {Entry} entry
 * @param {boolean} webtransport
 * @returns {Promise<"unreachable" | "refused" | "certificate">}
 */
async function diagnose(entry, webtransport) {
  if (webtransport && (await opensPing(entry))) return "refused";
  if (webtransport && (await answersHttp(entry))) return "certificate";
  return "unreachable";
}

/** Whether the entry answers at all. @param {Entry} entry @returns {Promise<boolean>} */
export async function opensPing(entry) {
  try {
    const transport = openPing(entry);
    const ready = await Promise.race([transport.ready.then(() => true), delay(HASTY_LIMIT_MS).then(() => false)]);
    transport.close();
    return ready;
  } catch {
    return false;
  }
}

/** @param {Entry} entry @returns {Promise<boolean>} */
async function answersHttp(entry) {
  // With a certificate to pin, no browser takes the entry's TLS, but the same port answers without.
  const scheme = entry.certificate_sha256 ? "http" : "https";
  try {
    await fetch(`${scheme}://${entry.address}/healthz`, { mode: "no-cors", signal: AbortSignal.timeout(HASTY_LIMIT_MS) });
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
