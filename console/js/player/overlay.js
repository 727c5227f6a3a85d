// The measurements a person may look at.

import { bitrate, milliseconds, placeName } from "../shared/format.js";
import { h } from "../shared/dom.js";

/**
 * @typedef {object} Stats  What `window.selvedge.stats()` answers, too.
 * @property {number} frames  Pictures drawn since the page was opened.
 * @property {number} fps
 * @property {number} bitrate_bps
 * @property {number | null} round_trip_ms
 * @property {number} max_gap_ms  The longest time between two pictures since the last reset, the present wait included.
 * @property {number | null} since_frame_ms
 * @property {{seq: number, ms: number} | null} last_latency  The last event that a picture answered.
 * @property {number} last_input_seq  What the shown picture has seen of our events.
 * @property {number | null} input_p50_ms
 * @property {number | null} input_p95_ms
 * @property {number | null} decode_ms
 * @property {number | null} encode_ms
 * @property {number} decode_queue
 * @property {number} dropped
 * @property {number} width
 * @property {number} height
 * @property {string} transport
 * @property {string} host_site
 * @property {string} entry_site
 * @property {{available: boolean, on: boolean, packets: number, buffered_ms: number, underruns: number, why: string}} sound
 */

/** @param {HTMLElement} panel @param {Stats} stats */
export function showStats(panel, stats) {
  const gap = stats.since_frame_ms === null ? "–" : milliseconds(stats.max_gap_ms);
  /** @type {[string, string][]} */
  const rows = [
    ["Runs in", stats.host_site ? placeName(stats.host_site) : "–"],
    ["Enters at", stats.entry_site ? placeName(stats.entry_site) : "–"],
    ["Over", transportName(stats.transport)],
    ["Round trip", milliseconds(stats.round_trip_ms)],
    ["Input to picture", `${milliseconds(stats.input_p50_ms)}, 95 % within ${milliseconds(stats.input_p95_ms)}`],
    ["Pictures", `${Math.round(stats.fps)} a second`],
    ["Longest gap", gap],
    ["Bitrate", bitrate(stats.bitrate_bps)],
    ["Encode, decode", `${milliseconds(stats.encode_ms)}, ${milliseconds(stats.decode_ms)}`],
    ["Waiting, dropped", `${stats.decode_queue}, ${stats.dropped}`],
    ["Size", stats.width > 16 ? `${stats.width} × ${stats.height}` : "–"],
    ["Sound", soundWords(stats.sound)],
  ];
  panel.replaceChildren(h("dl", null, rows.flatMap(([name, value]) => [h("dt", null, name), h("dd", null, value)])));
}

/** @param {string} transport */
function transportName(transport) {
  if (transport === "webtransport") return "WebTransport";
  if (transport === "websocket") return "WebSocket";
  return "–";
}

/** @param {Stats["sound"]} sound */
function soundWords(sound) {
  if (!sound.available) return sound.why || "none";
  if (!sound.on) return "off";
  return `${Math.round(sound.buffered_ms)} ms buffered, ${sound.underruns} ${sound.underruns === 1 ? "gap" : "gaps"}`;
}
