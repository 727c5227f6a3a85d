// What is inside the broadcasts of a live event. Pure.

import { isRecord } from "../shared/api.js";

/** @typedef {import("../shared/types.js").WatchTicket} WatchTicket */

/**
 * How a camera's own picture is coded.
 * @typedef {object} VideoInfo
 * @property {string} codec  As WebCodecs calls it.
 * @property {number} width
 * @property {number} height
 * @property {number} bitrate  Bits a second; 0 while nobody knows.
 */

/**
 * How a camera's sound is coded.
 * @typedef {object} AudioInfo
 * @property {string} codec  As WebCodecs calls it.
 * @property {number} sampleRate
 * @property {number} channels
 * @property {Uint8Array | null} description  What a decoder must know before the first packet.
 */

/** @typedef {{video: VideoInfo | null, audio: AudioInfo | null, renditions: string[]}} Info  The renditions are those that can be had. */

/** A camera's own stream, as a rendition. No manifest may call one so. */
export const SOURCE = "source";

/** The way in with this ticket. @param {WatchTicket} ticket @returns {import("../shared/transport.js").Way} */
export function wayOf(ticket) {
  return { entry: ticket.entry, grant: `watch=${encodeURIComponent(ticket.token)}` };
}

/** All cameras of an event are announced below this. @param {string} event */
export function rootOf(event) {
  return `live/${event}`;
}

/** Where a camera's tracks are. @param {string} event @param {string} camera */
export function broadcastOf(event, camera) {
  return `${rootOf(event)}/${camera}`;
}

/** The track of a camera's picture. @param {string} rendition */
export function trackOf(rendition) {
  return rendition === SOURCE ? "video" : `video/${rendition}`;
}

/** @param {unknown} value @returns {value is WatchTicket} */
export function isWatchTicket(value) {
  return (
    isRecord(value) &&
    isRecord(value.event) &&
    Array.isArray(value.event.cameras) &&
    Array.isArray(value.event.renditions) &&
    typeof value.token === "string" &&
    isRecord(value.entry) &&
    typeof value.entry.address === "string" &&
    Array.isArray(value.on_air)
  );
}

/** @param {Uint8Array} payload @returns {Info | null}  Null for what this page does not understand. */
export function readInfo(payload) {
  let value;
  try {
    value = JSON.parse(new TextDecoder().decode(payload));
  } catch {
    return null;
  }
  if (!isRecord(value)) return null;
  const bitrate = count(value.kilobits_per_second) * 1_000;
  const renditions = Array.isArray(value.renditions) ? value.renditions.filter((it) => typeof it === "string") : [];
  return { video: readVideoInfo(value.video, bitrate), audio: readAudioInfo(value.audio), renditions };
}

/** @param {unknown} value @param {number} bitrate @returns {VideoInfo | null} */
function readVideoInfo(value, bitrate) {
  if (!isRecord(value) || typeof value.codec_string !== "string") return null;
  return { codec: value.codec_string, width: count(value.width), height: count(value.height), bitrate };
}

/** @param {unknown} value @returns {AudioInfo | null} */
function readAudioInfo(value) {
  if (!isRecord(value) || typeof value.codec_string !== "string") return null;
  const description = typeof value.description === "string" && value.description !== "" ? bytesOf(value.description) : null;
  return { codec: value.codec_string, sampleRate: count(value.sample_rate) || 48_000, channels: count(value.channels) || 2, description };
}

/** @param {string} hex */
function bytesOf(hex) {
  return Uint8Array.from(hex.match(/[0-9a-f]{2}/gi) ?? [], (pair) => Number.parseInt(pair, 16));
}

/** @param {unknown} value */
function count(value) {
  return typeof value === "number" && Number.isFinite(value) && value >= 0 ? value : 0;
}
