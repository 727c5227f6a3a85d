// The terminal protocol: what is inside the frames of a session's tracks. Pure; all numbers are little endian.

import { isRecord } from "../shared/api.js";

/** @typedef {import("../shared/types.js").Offer} Offer */
/** @typedef {import("../shared/types.js").Ticket} Ticket */

/**
 * @typedef {object} CursorFrame
 * @property {number} width
 * @property {number} height
 * @property {number} hotX
 * @property {number} hotY
 * @property {boolean} visible
 * @property {Uint8Array} rgba
 */

/**
 * @typedef {object} Hello
 * @property {string} site
 * @property {string} node
 * @property {string} app
 * @property {string} title
 * @property {number} width
 * @property {number} height
 * @property {"keyboard" | "touch"} input
 * @property {boolean} relativePointer
 * @property {boolean} resizable
 * @property {{available: boolean, why: string}} sound
 * @property {Record<string, string>} gamepad
 */

/**
 * @typedef {{t: "hello", hello: Hello}
 *   | {t: "app", state: string, why: string}
 *   | {t: "clipboard", text: string}
 *   | {t: "ticket", ticket: Ticket, why: string, offer: Offer | null}
 *   | {t: "bye", reason: string, text: string}} Status
 */

const CURSOR_HEADER_BYTES = 12;
/** X cursors are at most this wide and high; browsers show at most 128. */
const CURSOR_SIDE_MAX = 256;

/** @param {Uint8Array} payload @returns {CursorFrame | null} */
export function readCursorFrame(payload) {
  if (payload.byteLength < CURSOR_HEADER_BYTES) return null;
  const view = new DataView(payload.buffer, payload.byteOffset, payload.byteLength);
  const width = view.getUint16(0, true);
  const height = view.getUint16(2, true);
  if (width > CURSOR_SIDE_MAX || height > CURSOR_SIDE_MAX) return null;
  if (payload.byteLength < CURSOR_HEADER_BYTES + width * height * 4) return null;
  return {
    width,
    height,
    hotX: view.getUint16(4, true),
    hotY: view.getUint16(6, true),
    visible: (view.getUint32(8, true) & 1) === 1,
    rgba: payload.slice(CURSOR_HEADER_BYTES, CURSOR_HEADER_BYTES + width * height * 4),
  };
}

/** @param {Uint8Array} payload @returns {Status | null}  Null for what this player does not know. */
export function readStatus(payload) {
  const message = readJson(payload);
  if (!message) return null;
  switch (message.t) {
    case "hello":
      return { t: "hello", hello: readHello(message) };
    case "app":
      return { t: "app", state: text(message.state), why: text(message.why) };
    case "clipboard":
      return { t: "clipboard", text: text(message.text) };
    case "ticket":
      if (!isTicket(message.ticket)) return null;
      return { t: "ticket", ticket: message.ticket, why: text(message.why), offer: isOffer(message.offer) ? message.offer : null };
    case "bye":
      return { t: "bye", reason: text(message.reason), text: text(message.text) };
    default:
      return null;
  }
}

/** @param {Record<string, unknown>} message @returns {Hello} */
function readHello(message) {
  const sound = isRecord(message.sound) ? message.sound : {};
  const gamepad = isRecord(message.gamepad) ? message.gamepad : {};
  return {
    site: text(message.site),
    node: text(message.node),
    app: text(message.app),
    title: text(message.title) || text(message.app),
    width: count(message.width),
    height: count(message.height),
    input: message.input === "touch" ? "touch" : "keyboard",
    relativePointer: message.relative_pointer === true,
    resizable: message.resizable === true,
    sound: { available: sound.available === true, why: text(sound.why) },
    gamepad: Object.fromEntries(Object.entries(gamepad).map(([button, code]) => [button, text(code)])),
  };
}

/** @param {unknown} value @returns {value is Ticket} */
export function isTicket(value) {
  return (
    isRecord(value) &&
    typeof value.session === "string" &&
    typeof value.epoch === "number" &&
    typeof value.token === "string" &&
    isRecord(value.entry) &&
    typeof value.entry.address === "string"
  );
}

/** @param {unknown} value @returns {value is Offer} */
export function isOffer(value) {
  return isRecord(value) && typeof value.site === "string" && typeof value.here_ms === "number" && typeof value.there_ms === "number";
}

/** @param {Uint8Array} payload @returns {{id: number, at: number} | null} */
export function readPong(payload) {
  const message = readJson(payload);
  return message && typeof message.id === "number" && typeof message.at === "number" ? { id: message.id, at: message.at } : null;
}

/** @param {Uint8Array} payload @returns {Record<string, unknown> | null} */
function readJson(payload) {
  try {
    const value = JSON.parse(new TextDecoder().decode(payload));
    return isRecord(value) ? value : null;
  } catch {
    return null;
  }
}

/** @param {unknown} value @returns {Uint8Array} */
export function writeJson(value) {
  return new TextEncoder().encode(JSON.stringify(value));
}

/** The names of a session's broadcasts. @param {Ticket} ticket @param {string} connection */
export function broadcastNames(ticket, connection) {
  const prefix = `s/${ticket.session}/${ticket.epoch}`;
  return { screen: `${prefix}/screen`, input: `${prefix}/input/${connection}` };
}

/** The way in with this ticket. @param {Ticket} ticket @returns {import("../shared/transport.js").Way} */
export function wayOf(ticket) {
  return { entry: ticket.entry, grant: `token=${encodeURIComponent(ticket.token)}` };
}

/** @param {unknown} value */
function text(value) {
  return typeof value === "string" ? value : "";
}

/** @param {unknown} value */
function count(value) {
  return typeof value === "number" && Number.isFinite(value) && value >= 0 ? value : 0;
}
