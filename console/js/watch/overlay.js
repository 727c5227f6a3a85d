// The measurements a person may look at.

import { bitrate, milliseconds, placeName } from "../shared/format.js";
import { h } from "../shared/dom.js";

/**
 * @typedef {object} Stats  What `window.selvedge.stats()` answers, too.
 * @property {number} frames  Pictures drawn since the page was opened.
 * @property {number} fps
 * @property {string} camera  What is seen.
 * @property {string} rendition
 * @property {number} width
 * @property {number} height
 * @property {number} angle  Where the viewer stands, in degrees.
 * @property {number} zoom
 * @property {import("./views.js").Switch[]} switches
 * @property {number | null} switch_p50_ms
 * @property {number | null} switch_p95_ms
 * @property {number} max_gap_ms  The longest time between two pictures since the last reset, the present wait included.
 * @property {number} stalls
 * @property {number} bitrate_bps  Everything that comes in.
 * @property {number} view_bps  What is seen of it.
 * @property {number} all_views_bps  What all cameras would take together, as what is seen does.
 * @property {number} cameras_on_air
 * @property {number} round_trip_ms
 * @property {number | null} delay_ms  How long pictures wait so that they come evenly and with their sound.
 * @property {number} decode_queue
 * @property {string} transport
 * @property {string} entry_site
 * @property {boolean} sound
 * @property {number} sound_packets
 * @property {number | null} audio_offset_ms  How far the sound is ahead of its picture; half of the time it is more, half less.
 * @property {number | null} audio_offset_worst_ms  95 % of the time it is nearer than this.
 */

/** @param {HTMLElement} panel @param {Stats} stats */
export function showStats(panel, stats) {
  const last = stats.switches.at(-1);
  const saved = stats.all_views_bps > 0 ? ` (${Math.round((1 - stats.bitrate_bps / stats.all_views_bps) * 100)} % less)` : "";
  /** @type {[string, string][]} */
  const rows = [
    ["Last switch", last ? milliseconds(last.ms) : "–"],
    ["Switches", stats.switch_p50_ms === null ? "–" : `${milliseconds(stats.switch_p50_ms)}, 95 % within ${milliseconds(stats.switch_p95_ms)}`],
    ["Bitrate", bitrate(stats.bitrate_bps)],
    [`All ${stats.cameras_on_air} views`, `${bitrate(stats.all_views_bps)}${saved}`],
    ["Rendition", stats.camera ? `${stats.rendition}, ${stats.width} × ${stats.height}` : "–"],
    ["Pictures", `${Math.round(stats.fps)} a second`],
    ["Longest gap", milliseconds(stats.max_gap_ms)],
    ["Stalls", String(stats.stalls)],
    ["Enters at", stats.entry_site ? placeName(stats.entry_site) : "–"],
    ["Round trip", milliseconds(stats.round_trip_ms)],
    ["Sound ahead", stats.sound ? milliseconds(stats.audio_offset_ms) : "off"],
  ];
  panel.replaceChildren(h("dl", null, rows.flatMap(([name, value]) => [h("dt", null, name), h("dd", null, value)])));
}
