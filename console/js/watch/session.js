// The life of one viewer in this page: get in, change over without a gap, find the way back when lost.

import { ApiError, request } from "../shared/api.js";
import { placeName } from "../shared/format.js";
import { terminalAt } from "../shared/place.js";
import { operatorToken } from "../shared/token.js";
import { ConnectError, delay, opensPing } from "../shared/transport.js";
import { explainFailure } from "../shared/words.js";
import { Attachment } from "./attachment.js";
import { isWatchTicket } from "./protocol.js";

/** @typedef {import("../shared/types.js").Place} Place */
/** @typedef {import("../shared/types.js").WatchTicket} WatchTicket */
/** @typedef {import("../shared/words.js").Words} Words */
/** @typedef {import("./feed.js").Feed} Feed */
/** @typedef {import("./views.js").Views} Views */

/** @typedef {"idle" | "asking" | "connecting" | "waiting" | "watching" | "recovering" | "failed"} State */

/**
 * @typedef {object} Face  What the page shows of it.
 * @property {(state: State, text: string) => void} onState
 * @property {(text: string | null, lastsMs?: number) => void} onBanner  Null takes it away.
 * @property {(ticket: WatchTicket) => Views} onEvent  The event is known; called for the first ticket.
 * @property {() => void} onCameras
 * @property {(words: Words) => void} onStopped
 */

/** A change-over that has no picture after this long is made all the same, in milliseconds. */
const CHANGE_LIMIT_MS = 4_000;
/** The hidden picture may be this far behind what is seen, in milliseconds: nobody sees a frame or two. */
const BEHIND_MS = 60;
/** After this long it may be farther behind: the new way is longer. */
const PATIENCE_MS = 500;
/** Nothing from the entry for this long is worth a question, in milliseconds. */
const SILENCE_LIMIT_MS = 800;
/** How often the connection is judged, in milliseconds. */
const WATCH_EVERY_MS = 250;
/** The way back is looked for this long, in milliseconds. */
const RECOVER_FOR_MS = 120_000;
/** Between two tries: quick at first, then calm, in milliseconds. */
const RETRY_MS = [0, 250, 500, 1_000, 2_000];
/** How long a notice of what happened stays, in milliseconds. */
const NOTICE_MS = 6_000;

/** One event in one page. */
export class WatchSession {
  /** @param {string} event @param {Face} face */
  constructor(event, face) {
    this.event = event;
    /** What failures are told about. */
    this.wanted = { kind: /** @type {const} */ ("event"), name: event, full: "No site can take you in now" };
    this.face = face;
    /** @type {State} */
    this.state = "idle";
    /** @type {Place | null} */
    this.place = null;
    /** @type {Views | null} */
    this.views = null;
    /** @type {Attachment | null} */
    this.current = null;
    this.change = new AbortController();
    this.changing = false;
    this.asking = false;
    this.moves = 0;
    this.watchedAt = performance.now();
    this.watch = setInterval(() => void this.judge(), WATCH_EVERY_MS);
  }

  /** @param {Place | null} place */
  async start(place) {
    this.place = place;
    const change = this.beginChange();
    this.setState("asking", "Looking for the nearest place…");
    try {
      const ticket = await this.askTicket(undefined, change);
      this.views ??= this.face.onEvent(ticket);
      this.setState("connecting", `Connecting to ${placeName(ticket.entry.site)}…`);
      const attachment = await Attachment.open(ticket, this.listener(), change, "thorough");
      this.adopt(attachment, null);
    } catch (error) {
      if (!change.aborted) this.stop(explainFailure(error, this.wanted));
    }
  }

  /** @param {string | undefined} lost  The node that stopped answering. @param {AbortSignal} signal @returns {Promise<WatchTicket>} */
  async askTicket(lost, signal) {
    const body = { terminal: terminalAt(this.place), ...(lost ? { lost_entry: lost } : {}) };
    const answer = await request("POST", `/v1/live/${encodeURIComponent(this.event)}/watch`, { body, token: operatorToken(), signal });
    if (!isWatchTicket(answer)) throw new ApiError({ code: "garbled", message: "The center gave an answer this page does not understand.", status: 0 });
    return answer;
  }

  /** @returns {import("./attachment.js").Listener} */
  listener() {
    return {
      onCameras: (attachment) => {
        if (attachment === this.current) this.showCameras();
      },
      onClosed: (attachment) => {
        if (attachment === this.current) void this.recover();
      },
    };
  }

  /** @param {Attachment} attachment @param {Feed | null} prepared */
  adopt(attachment, prepared) {
    const old = this.current;
    this.current = attachment;
    this.views?.changeOver(attachment, prepared);
    old?.close();
    if (old) this.moves += 1;
    this.setState("watching", "");
    this.showCameras();
  }

  showCameras() {
    const { current, views } = this;
    if (!current || !views) return;
    views.handleCameras(current);
    this.face.onCameras();
    if (this.state === "watching" && current.onAir.size === 0) this.setState("waiting", "");
    else if (this.state === "waiting" && current.onAir.size > 0) this.setState("watching", "");
  }

  /** The person is somewhere else now. @param {Place} place */
  async moveTo(place) {
    this.place = place;
    if (!this.current || !["watching", "waiting"].includes(this.state)) return;
    const change = this.beginChange();
    try {
      const ticket = await this.askTicket(undefined, change);
      const { entry } = this.current.ticket;
      if (ticket.entry.node === entry.node && ticket.entry.address === entry.address) return;
      await this.changeOver(ticket, change, "thorough");
      this.face.onBanner(`You enter at ${placeName(ticket.entry.site)} now.`, NOTICE_MS);
    } catch (error) {
      if (!change.aborted) this.face.onBanner(explainFailure(error, this.wanted).text, NOTICE_MS);
    }
  }

  /**
   * Opens the new way beside the old one and swaps when its picture has caught up.
   * @param {WatchTicket} ticket
   * @param {AbortSignal} change
   * @param {import("../shared/transport.js").Haste} haste
   */
  async changeOver(ticket, change, haste) {
    this.changing = true;
    /** @type {Attachment | null} */
    let attachment = null;
    /** @type {Feed | null} */
    let prepared = null;
    try {
      attachment = await Attachment.open(ticket, this.listener(), change, haste);
      prepared = this.views?.prepare(attachment) ?? null;
      if (prepared) await this.untilCaughtUp(prepared, change);
      this.adopt(attachment, prepared);
      attachment = null;
      prepared = null;
    } finally {
      prepared?.close();
      attachment?.close();
      if (!change.aborted) this.changing = false;
    }
  }

  /** @param {Feed} feed @param {AbortSignal} change */
  async untilCaughtUp(feed, change) {
    const began = performance.now();
    for (;;) {
      change.throwIfAborted();
      const waited = performance.now() - began;
      const newest = feed.held.at(-1);
      const shown = this.views?.picture.shown;
      const stands = this.current?.over === true;
      if (newest && (stands || waited > PATIENCE_MS || !shown || newest.timestamp >= shown.timestamp - BEHIND_MS)) return;
      if (feed.attachment.over) throw new ConnectError("unreachable", feed.attachment.ticket.entry.site);
      if (waited > CHANGE_LIMIT_MS) return;
      await delay(10);
    }
  }

  /** Looks at the connection, now and then. */
  async judge() {
    const now = performance.now();
    const timely = now - this.watchedAt < WATCH_EVERY_MS * 4;
    this.watchedAt = now;
    const { current } = this;
    // A page that was asleep has missed things without anything being lost.
    if (!timely || !current || this.asking || this.changing || this.state !== "watching" || this.views?.paused) return;
    if (now - current.heardAt < SILENCE_LIMIT_MS || current.transport !== "webtransport") return;
    this.asking = true;
    const answers = await opensPing(current.ticket.entry);
    this.asking = false;
    if (answers) current.heardAt = performance.now();
    else if (current === this.current && performance.now() - current.heardAt > SILENCE_LIMIT_MS) void this.recover();
  }

  /** The entry is gone: find another one. */
  async recover() {
    if (["recovering", "failed", "idle"].includes(this.state) || !this.current) return;
    const { entry } = this.current.ticket;
    this.setState("recovering", "");
    this.face.onBanner(`The connection to ${placeName(entry.site)} was lost. Looking for the next nearest place…`);
    const change = this.beginChange();
    const until = performance.now() + RECOVER_FOR_MS;
    let lost = entry.node;
    /** @type {unknown} */
    let failure = null;
    for (let attempt = 0; performance.now() < until; attempt += 1) {
      await delay(RETRY_MS[Math.min(attempt, RETRY_MS.length - 1)]);
      if (change.aborted) return;
      try {
        const ticket = await this.nextTicket(lost, change);
        lost = ticket.entry.node;
        await this.changeOver(ticket, change, attempt < RETRY_MS.length ? { only: this.current.transport } : "thorough");
        this.face.onBanner(`You enter at ${placeName(ticket.entry.site)} now.`, NOTICE_MS);
        return;
      } catch (error) {
        if (change.aborted) return;
        failure = error;
        if (error instanceof ApiError && [401, 403, 404].includes(error.status)) break;
        if (navigator.onLine === false) this.face.onBanner("This device is offline. It goes on when you are back.");
      }
    }
    if (!change.aborted) this.stop(explainFailure(failure, this.wanted));
  }

  /** @param {string} lost @param {AbortSignal} signal @returns {Promise<WatchTicket>} */
  async nextTicket(lost, signal) {
    try {
      return await this.askTicket(lost, signal);
    } catch (error) {
      const ticket = this.current?.ticket;
      const usable = error instanceof ApiError && error.code === "center_away" && ticket && ticket.expires_unix_ms > Date.now();
      if (!usable) throw error;
      // The center is away; edges check the ticket by themselves.
      return ticket;
    }
  }

  /** The page goes away. */
  leave() {
    this.beginChange();
    this.views?.pause();
    this.current?.close();
    this.current = null;
    this.state = "idle";
  }

  /** @param {Words} words */
  stop(words) {
    this.beginChange();
    this.current?.close();
    this.current = null;
    this.setState("failed", "");
    this.face.onBanner(null);
    this.face.onStopped(words);
  }

  /** Whatever change was under way is over. @returns {AbortSignal} */
  beginChange() {
    this.change.abort();
    this.change = new AbortController();
    this.changing = false;
    return this.change.signal;
  }

  /** @param {State} state @param {string} text */
  setState(state, text) {
    this.state = state;
    this.face.onState(state, text);
  }
}
