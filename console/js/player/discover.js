// Which sites could serve this terminal, and how far away each really is.

import { isRecord, request } from "../shared/api.js";
import { percentile } from "../shared/measure.js";
import { terminalAt } from "../shared/place.js";
import { operatorToken } from "../shared/token.js";
import { delay, openPing } from "../shared/transport.js";

/** @typedef {import("../shared/types.js").Candidate} Candidate */
/** @typedef {import("../shared/types.js").Discovered} Discovered */
/** @typedef {import("../shared/types.js").Place} Place */
/** @typedef {import("../shared/types.js").RoundTrip} RoundTrip */

/** Candidates that are probed: the center sorts them, the rest would not win. */
const PROBED = 3;
/** Echoes per candidate. */
const PINGS = 5;
/** Between two echoes, so that one burst of load does not spoil them all, in milliseconds. */
const PING_EVERY_MS = 20;
/** A candidate has this long to open and answer; a site farther away than this is no candidate. */
const PROBE_LIMIT_MS = 1_500;
/** After the first candidate is measured the others have this many of its round trips, and at least this long. */
const FAR_ROUND_TRIPS = 5;
const FAR_MS = 120;
/** A measured candidate waits no longer than this for its last echoes, in milliseconds. */
const STRAGGLERS_MS = 300;

/**
 * @param {string} app
 * @param {Place | null} place
 * @param {AbortSignal} signal
 * @returns {Promise<Discovered>}
 */
export async function discover(app, place, signal) {
  const answer = await request("POST", "/v1/discover", { body: { app, terminal: terminalAt(place) }, token: operatorToken(), signal });
  const record = isRecord(answer) ? answer : {};
  return {
    candidates: Array.isArray(record.candidates) ? record.candidates : [],
    rejected: Array.isArray(record.rejected) ? record.rejected : [],
  };
}

/**
 * Measures the first candidates, all at once. Those that do not answer, or answer long after the nearest, are left out.
 * @param {Candidate[]} candidates
 * @returns {Promise<RoundTrip[]>}
 */
export async function probe(candidates) {
  if (typeof WebTransport === "undefined") return [];
  /** @type {RoundTrip[]} */
  const measured = [];
  const first = Promise.withResolvers();
  const all = candidates.slice(0, PROBED).map(async (candidate) => {
    const ms = await probeOne(candidate);
    if (ms === null) return;
    measured.push({ node: candidate.entry.node, ms: Math.round(ms * 100) / 100, age_ms: 0 });
    first.resolve(ms);
  });
  // Opening and echoing takes several round trips, so who is not back by then is farther away than the first.
  const enough = first.promise.then((ms) => delay(Math.max(FAR_MS, ms * FAR_ROUND_TRIPS)));
  await Promise.race([Promise.all(all), enough]);
  return [...measured];
}

/** @param {Candidate} candidate @returns {Promise<number | null>}  The median, or null without an answer. */
async function probeOne(candidate) {
  /** @type {WebTransport | null} */
  let transport = null;
  try {
    transport = openPing(candidate.entry);
    const opened = await Promise.race([transport.ready.then(() => true), delay(PROBE_LIMIT_MS).then(() => false)]);
    return opened ? await echoes(transport) : null;
  } catch {
    return null;
  } finally {
    try {
      transport?.close();
    } catch {
      // It never opened.
    }
  }
}

/** @param {WebTransport} transport @returns {Promise<number | null>} */
async function echoes(transport) {
  const reader = transport.datagrams.readable.getReader();
  const writer = writableOf(transport).getWriter();
  /** @type {Map<number, number>} */
  const sent = new Map();
  /** @type {number[]} */
  const times = [];
  const reading = (async () => {
    while (times.length < PINGS) {
      const { value, done } = await reader.read();
      if (done) return;
      const at = value && value.byteLength >= 1 ? sent.get(value[0]) : undefined;
      if (at !== undefined) times.push(performance.now() - at);
    }
  })();
  for (let id = 0; id < PINGS; id += 1) {
    sent.set(id, performance.now());
    await writer.write(Uint8Array.of(id, 0, 0, 0, 0, 0, 0, 0));
    if (id + 1 < PINGS) await Promise.race([delay(PING_EVERY_MS), reading]);
  }
  await Promise.race([reading, delay(PROBE_LIMIT_MS), enough(times)]).catch(() => undefined);
  reader.cancel().catch(() => undefined);
  return times.length === 0 ? null : percentile(times, 0.5);
}

/** Resolves a little after the first answers are there. @param {number[]} times */
async function enough(times) {
  for (let waited = 0; times.length === 0 && waited < PROBE_LIMIT_MS; waited += STRAGGLERS_MS / 10) {
    await delay(STRAGGLERS_MS / 10);
  }
  await delay(STRAGGLERS_MS);
}

/**
 * Newer browsers make writable ends on demand, older ones have one.
 * @param {WebTransport} transport
 * @returns {WritableStream<Uint8Array>}
 */
function writableOf(transport) {
  const datagrams = /** @type {any} */ (transport.datagrams);
  return datagrams.writable ?? datagrams.createWritable();
}
