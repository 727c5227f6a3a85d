// The life of one session in this page: find a place, get in, change over without a gap, find the way back when lost.

import { ApiError, isRecord, request } from "../shared/api.js";
import { placeName } from "../shared/format.js";
import { Rate } from "../shared/measure.js";
import { terminalAt } from "../shared/place.js";
import { dropSession, heldSession, holdSession } from "../shared/sessions.js";
import { operatorToken } from "../shared/token.js";
import { ConnectError, delay, opensPing } from "../shared/transport.js";
import { explainFailure } from "../shared/words.js";
import { Attachment } from "./attachment.js";
import { discover, probe } from "./discover.js";
import { isOffer, isTicket } from "./protocol.js";
import { endedBecause } from "./words.js";

/** @typedef {import("../shared/types.js").Offer} Offer */
/** @typedef {import("../shared/types.js").Place} Place */
/** @typedef {import("../shared/types.js").Renewed} Renewed */
/** @typedef {import("../shared/types.js").RoundTrip} RoundTrip */
/** @typedef {import("../shared/types.js").Ticket} Ticket */
/** @typedef {import("./attachment.js").Held} Held */
/** @typedef {import("../shared/words.js").Words} Words */

/** @typedef {"idle" | "asking" | "connecting" | "playing" | "recovering" | "ended" | "failed"} State */

/**
 * @typedef {object} Face  What the page shows of it.
 * @property {(state: State, text: string) => void} onState
 * @property {(text: string | null, lastsMs?: number) => void} onBanner  Null takes it away.
 * @property {(offer: Offer | null) => void} onOffer
 * @property {(hello: import("./protocol.js").Hello) => void} onHello
 * @property {(text: string) => void} onClipboard
 * @property {(words: Words) => void} onStopped  The session is over or never began.
 * @property {() => void} onShown  The picture now comes over another connection.
 */

/** The first picture of an app that starts cold may take this long, in milliseconds. */
const FIRST_PICTURE_LIMIT_MS = 40_000;
/** A change-over that has no picture after this long is given up, in milliseconds; the old picture stays. */
const CHANGE_LIMIT_MS = 8_000;
/** The same when there is no old picture worth waiting with. */
const RECOVER_LIMIT_MS = 4_000;
/** While recovering, an entry over which the app's node says nothing for this long leads nowhere, in milliseconds. */
const HEAR_LIMIT_MS = 1_500;
/** The same at the start: the node speaks while the app still starts, so nobody waits for a picture that will not come. */
const FIRST_WORD_LIMIT_MS = 12_000;
/** No answer to pings for this long is a lost connection, in milliseconds. */
const SILENCE_LIMIT_MS = 1_500;
/** How often the connection is judged, in milliseconds. */
const WATCH_EVERY_MS = 250;
/** The way back is looked for as long as an app waits by default, and a little longer, in milliseconds. */
const RECOVER_FOR_MS = 75_000;
/** Between two tries: quick at first, then calm, in milliseconds. */
const RETRY_MS = [0, 250, 500, 1_000, 2_000];
/** Conflicts in a row that are worth another try, and the pause before it, in milliseconds. */
const CONFLICTS_MAX = 4;
const CONFLICT_PAUSE_MS = 100;
/** A node that says good-bye for another has sent the way there within this long, in milliseconds. */
const TICKET_PAUSE_MS = 500;
/** How long a notice of what happened stays, in milliseconds. */
const NOTICE_MS = 6_000;

/** The entry let us in, and nothing came from the app's node. */
class SilentError extends ConnectError {
  /** @param {string} entry */
  constructor(entry) {
    super("unreachable", entry);
  }
}

/** One app in one page. */
export class PlayerSession {
  /**
   * @param {object} parts
   * @param {string} parts.app
   * @param {import("./screen.js").Screen} parts.screen
   * @param {import("./audio.js").Speaker} parts.speaker
   * @param {Face} parts.face
   * @param {() => {width: number, height: number}} parts.windowSize
   */
  constructor(parts) {
    this.app = parts.app;
    /** What failures are told about. */
    this.wanted = { kind: /** @type {const} */ ("app"), name: parts.app, full: "No site can run it now" };
    this.screen = parts.screen;
    this.speaker = parts.speaker;
    this.face = parts.face;
    this.windowSize = parts.windowSize;
    /** @type {State} */
    this.state = "idle";
    /** @type {Place | null} */
    this.place = null;
    /** @type {import("../shared/sessions.js").Held | null} */
    this.held = null;
    /** @type {Attachment | null} */
    this.current = null;
    /** The ticket that is being changed over to. @type {Ticket | null} */
    this.pending = null;
    this.change = new AbortController();
    this.soundOn = false;
    this.bytes = new Rate(2_000);
    this.moves = 0;
    /** Whether a connection that is not made soon is given up for the next. */
    this.hasty = false;
    /** The entry that was tried last while recovering. @type {import("../shared/types.js").Entry | undefined} */
    this.tried = undefined;
    this.watchedAt = performance.now();
    this.watch = setInterval(() => this.judge(), WATCH_EVERY_MS);
  }

  /** Begins, or returns to the session this browser holds. @param {Place | null} place */
  async start(place) {
    this.place = place;
    const change = this.beginChange();
    this.setState("asking", "Looking for the nearest place…");
    try {
      const ticket = (await this.returnTicket(change)) ?? (await this.newTicket(change));
      this.setState("connecting", `Connecting to ${placeName(ticket.entry.site)}…`);
      await this.changeOver(ticket, change, FIRST_PICTURE_LIMIT_MS);
    } catch (error) {
      if (!change.aborted) this.stop("failed", explainFailure(error, this.wanted));
    }
  }

  /** @param {AbortSignal} signal @returns {Promise<Ticket | null>}  Null when there is nothing to return to. */
  async returnTicket(signal) {
    this.held = heldSession(this.app);
    if (!this.held) return null;
    try {
      return (await this.renew(undefined, signal)).ticket;
    } catch (error) {
      if (!isGone(error)) throw error;
      dropSession(this.app);
      this.held = null;
      return null;
    }
  }

  /** @param {AbortSignal} signal @returns {Promise<Ticket>} */
  async newTicket(signal) {
    const roundTrips = await this.measure(signal);
    const created = await insist("/v1/sessions", {
      body: { app: this.app, terminal: terminalAt(this.place, roundTrips), screen: this.windowSize() },
      token: operatorToken(),
      signal,
    });
    if (!isRecord(created) || !isTicket(created.ticket) || typeof created.key !== "string") throw garbled();
    this.held = { id: created.ticket.session, key: created.key };
    holdSession(this.app, this.held);
    return created.ticket;
  }

  /** @param {AbortSignal} signal @returns {Promise<RoundTrip[]>} */
  async measure(signal) {
    const { candidates, rejected } = await discover(this.app, this.place, signal);
    if (candidates.length === 0) {
      const reasons = rejected.map(({ site, why }) => `${placeName(site)}: ${why}`).join("\n");
      throw new ApiError({ code: "no_place", message: reasons, status: 503 });
    }
    return probe(candidates);
  }

  /**
   * @param {string | undefined} lostEntry  The node that stopped answering.
   * @param {AbortSignal} signal
   * @returns {Promise<Renewed>}
   */
  async renew(lostEntry, signal) {
    const body = { terminal: terminalAt(this.place), ...(lostEntry ? { lost_entry: lostEntry } : {}) };
    return this.ask("ticket", body, signal);
  }

  /**
   * @param {"ticket" | "move"} what
   * @param {unknown} body
   * @param {AbortSignal} signal
   * @returns {Promise<Renewed>}
   */
  async ask(what, body, signal) {
    const held = this.held;
    if (!held) throw garbled();
    const answer = await insist(`/v1/sessions/${held.id}/${what}`, { body, token: held.key, signal });
    if (!isRecord(answer) || !isTicket(answer.ticket)) throw garbled();
    return {
      ticket: answer.ticket,
      outcome: answer.outcome === "entry" || answer.outcome === "restarted" ? answer.outcome : "same",
      why: typeof answer.why === "string" ? answer.why : "",
      offer: isOffer(answer.offer) ? answer.offer : undefined,
    };
  }

  /**
   * Says that the terminal is somewhere else now, and follows where that leads.
   * @param {Place} place
   */
  async moveTo(place) {
    this.place = place;
    if (!this.held || !["playing", "recovering"].includes(this.state)) return;
    const change = this.beginChange();
    try {
      // The picture goes on while this is measured, so there is no hurry; without figures the center estimates.
      const roundTrips = await this.measure(change).catch(() => []);
      change.throwIfAborted();
      await this.follow(await this.ask("move", { terminal: terminalAt(place, roundTrips) }, change), change);
    } catch (error) {
      if (!change.aborted) this.face.onBanner(explainFailure(error, this.wanted).text, NOTICE_MS);
    }
  }

  /** Takes an offer: the app starts anew at that site. @param {Offer} offer */
  async acceptOffer(offer) {
    this.face.onOffer(null);
    const change = this.beginChange();
    try {
      const body = { terminal: terminalAt(this.place), site: offer.site, mode: "restart" };
      await this.follow(await this.ask("move", body, change), change);
    } catch (error) {
      if (!change.aborted) this.face.onBanner(explainFailure(error, this.wanted).text, NOTICE_MS);
    }
  }

  /** @param {Renewed} renewed @param {AbortSignal} change */
  async follow(renewed, change) {
    this.face.onOffer(renewed.offer ?? null);
    if (this.current && sameWay(this.current.ticket, renewed.ticket) && !this.current.closed) return;
    await this.changeOver(renewed.ticket, change, CHANGE_LIMIT_MS);
    if (renewed.why) this.face.onBanner(renewed.why, NOTICE_MS);
  }

  /**
   * Opens the new way beside the old one and swaps when its picture is there.
   * @param {Ticket} ticket
   * @param {AbortSignal} change
   * @param {number} limitMs
   */
  async changeOver(ticket, change, limitMs) {
    this.pending = ticket;
    /** @type {Attachment | null} */
    let attachment = null;
    try {
      const haste = this.state === "recovering" && this.current && this.hasty ? { only: this.current.connection.transport } : "thorough";
      attachment = await Attachment.open(ticket, this.listener(), change, haste);
      await this.untilReady(attachment, change, limitMs);
      this.show(attachment);
      attachment = null;
    } finally {
      attachment?.close();
      if (this.pending === ticket) this.pending = null;
    }
  }

  /**
   * @param {Attachment} attachment
   * @param {AbortSignal} change
   * @param {number} limitMs
   */
  async untilReady(attachment, change, limitMs) {
    const began = performance.now();
    for (;;) {
      change.throwIfAborted();
      const now = performance.now();
      const hearLimitMs = this.state === "recovering" ? HEAR_LIMIT_MS : FIRST_WORD_LIMIT_MS;
      if (!attachment.heard && now - began > hearLimitMs) throw new SilentError(attachment.ticket.entry.site);
      const shown = this.current && this.screen.shown ? { epoch: this.current.ticket.epoch, timestamp: this.screen.shown.timestamp } : null;
      if (attachment.isReady(shown, now)) return;
      if (attachment.closed || attachment.lost || now - began > limitMs) throw new ConnectError("unreachable", attachment.ticket.entry.site);
      await Promise.race([attachment.progress(), delay(50)]);
    }
  }

  /** @param {Attachment} attachment */
  show(attachment) {
    const old = this.current;
    this.current = attachment;
    const held = attachment.promote();
    if (held) this.screen.draw(held.frame, held.picture);
    old?.close();
    this.speaker.clear();
    if (this.soundOn) attachment.startAudio(this.speaker);
    if (attachment.hello) this.face.onHello(attachment.hello);
    if (attachment.cursor) this.screen.setCursor(attachment.cursor);
    if (old) this.moves += 1;
    this.setState("playing", "");
    this.face.onBanner(null);
    this.face.onShown();
  }

  /** @returns {import("./attachment.js").Listener} */
  listener() {
    return {
      onPicture: (attachment, { frame, picture }) => {
        if (attachment === this.current) this.screen.draw(frame, picture);
        else frame.close();
      },
      onStatus: (attachment, status) => this.handleStatus(attachment, status),
      onCursor: (attachment, cursor) => {
        if (attachment === this.current) this.screen.setCursor(cursor);
      },
      onPong: (attachment) => {
        // Back before a new way was found: the old one will do.
        if (attachment === this.current && this.state === "recovering" && !attachment.lost) this.cancelRecovery();
      },
      onClosed: (attachment) => {
        if (attachment === this.current) void this.recover();
      },
      onBytes: (bytes) => this.bytes.add(performance.now(), bytes),
    };
  }

  /**
   * @param {Attachment} attachment
   * @param {import("./protocol.js").Status} status
   */
  handleStatus(attachment, status) {
    const shown = attachment === this.current;
    if (status.t === "app" && !this.current) this.setState("connecting", appWords(status.state));
    if (!shown) return;
    switch (status.t) {
      case "hello":
        this.face.onHello(status.hello);
        break;
      case "app":
        if (status.state === "restarting") this.face.onBanner(status.why || "The app stopped and is being started again.", NOTICE_MS);
        if (status.state === "running" && this.state === "playing") this.face.onBanner(null);
        break;
      case "clipboard":
        this.face.onClipboard(status.text);
        break;
      case "ticket":
        if (status.offer) this.face.onOffer(status.offer);
        void this.takeTicket(status.ticket, status.why);
        break;
      case "bye":
        this.handleBye(attachment, status.reason, status.text);
        break;
    }
  }

  /** @param {Ticket} ticket @param {string} why */
  async takeTicket(ticket, why) {
    const known = [this.current?.ticket, this.pending].some((it) => it && (sameWay(it, ticket) || it.epoch > ticket.epoch));
    if (known) return;
    const change = this.beginChange();
    void this.learnPlace(change);
    try {
      await this.changeOver(ticket, change, CHANGE_LIMIT_MS);
      if (why) this.face.onBanner(why, NOTICE_MS);
    } catch {
      // The old connection goes on, or is found lost by the watch.
      if (!change.aborted && this.current?.lost) void this.recover();
    }
  }

  /** Somebody else moved this terminal: its own idea of where it is must follow. @param {AbortSignal} signal */
  async learnPlace(signal) {
    const held = this.held;
    if (!held) return;
    const view = await request("GET", `/v1/sessions/${held.id}`, { token: held.key, signal }).catch(() => null);
    if (!isRecord(view) || !isRecord(view.position) || !this.place) return;
    const { lat, lon } = view.position;
    if (typeof lat !== "number" || typeof lon !== "number") return;
    const network = typeof view.network === "string" ? view.network : undefined;
    this.place = { name: this.place.network === network ? this.place.name : "", network, position: { lat, lon } };
  }

  /** @param {Attachment} attachment @param {string} reason @param {string} text */
  handleBye(attachment, reason, text) {
    if (reason === "superseded" || reason === "draining") {
      // The new ticket is usually on its way, here or as the answer to our own request.
      setTimeout(() => {
        if (attachment === this.current && !this.pending && this.state === "playing") void this.recover(text);
      }, TICKET_PAUSE_MS);
      return;
    }
    dropSession(this.app);
    this.stop("ended", endedBecause(reason, text));
  }

  /** Looks at the connection, now and then. */
  judge() {
    const now = performance.now();
    const timely = now - this.watchedAt < WATCH_EVERY_MS * 4;
    this.watchedAt = now;
    // A page that was asleep has missed answers without anything being lost.
    if (!timely || this.state !== "playing" || !this.current) return;
    const { unanswered, sinceMs } = this.current.silence(now);
    if (this.current.lost) void this.recover();
    else if (this.current.heard && unanswered >= 2 && sinceMs > SILENCE_LIMIT_MS) void this.recover();
  }

  /** The picture stopped: find another way to the session. @param {string} [text] */
  async recover(text) {
    if (this.state === "recovering" || this.state === "ended" || this.state === "failed") return;
    // A change that is under way may be the cure. If it fails the watch comes back here.
    if (this.pending) return;
    const site = this.current ? placeName(this.current.ticket.entry.site) : "the app";
    this.setState("recovering", "");
    this.face.onBanner(text || `The connection to ${site} was lost. Looking for the next nearest place…`);
    const change = this.beginChange();
    const until = performance.now() + RECOVER_FOR_MS;
    let lost = await this.findLost();
    /** @type {unknown} */
    let failure = null;
    for (let attempt = 0; performance.now() < until && !change.aborted; attempt += 1) {
      // After a few quick tries the network itself may have changed, and with it what gets through.
      this.hasty = attempt < RETRY_MS.length;
      await delay(RETRY_MS[Math.min(attempt, RETRY_MS.length - 1)]);
      if (change.aborted) return;
      try {
        const renewed = await this.recoverOnce(lost, change);
        if (renewed.why) this.face.onBanner(renewed.why, NOTICE_MS);
        this.face.onOffer(renewed.offer ?? null);
        return;
      } catch (error) {
        if (change.aborted) return;
        failure = error;
        if (isGone(error)) {
          dropSession(this.app);
          this.stop("ended", endedBecause("gone", ""));
          return;
        }
        // Nothing heard over a connection that stands: it is the app's node that is lost, as before.
        if (error instanceof ConnectError && !(error instanceof SilentError)) lost = this.tried?.node ?? lost;
        this.tellWait(error);
      }
    }
    if (!change.aborted) this.stop("failed", explainFailure(failure, this.wanted));
  }

  /** Which node to avoid: the entry, or the app's own when the entry still answers. @returns {Promise<string | undefined>} */
  async findLost() {
    const { current } = this;
    if (!current) return undefined;
    const { entry } = current.ticket;
    const host = current.hello?.node;
    if (!host || host === entry.node || current.lost || current.connection.transport !== "webtransport") return entry.node;
    return (await opensPing(current.ticket.entry)) ? host : entry.node;
  }

  /** Says why it takes longer. @param {unknown} error */
  tellWait(error) {
    if (navigator.onLine === false) this.face.onBanner("This device is offline. The app waits for you; it goes on when you are back.");
    else if (error instanceof ApiError && error.code === "no_place") this.face.onBanner("No site has room just now. Trying again…");
  }

  /**
   * @param {string | undefined} lost  The node to avoid.
   * @param {AbortSignal} change
   * @returns {Promise<{why: string, offer?: Offer}>}
   */
  async recoverOnce(lost, change) {
    /** @type {Renewed} */
    let renewed;
    try {
      renewed = await this.renew(lost, change);
    } catch (error) {
      const ticket = this.current?.ticket;
      const usable = error instanceof ApiError && error.code === "center_away" && ticket && ticket.expires_unix_ms > Date.now();
      if (!usable) throw error;
      // The center is away; the edge checks the ticket by itself.
      renewed = { ticket, outcome: "same", why: "" };
    }
    this.tried = renewed.ticket.entry;
    await this.changeOver(renewed.ticket, change, RECOVER_LIMIT_MS);
    return renewed;
  }

  cancelRecovery() {
    this.beginChange();
    this.setState("playing", "");
    this.face.onBanner(null);
  }

  /** Ends the session for good. */
  async end() {
    const held = this.held;
    dropSession(this.app);
    this.stop("ended", endedBecause("left", ""));
    if (held) await request("DELETE", `/v1/sessions/${held.id}`, { token: held.key }).catch(() => undefined);
  }

  /** The page goes away; the session waits for it. */
  leave() {
    this.beginChange();
    this.current?.close();
    this.current = null;
    this.state = "idle";
  }

  /** @param {State} state @param {Words} words */
  stop(state, words) {
    this.beginChange();
    this.current?.close();
    this.current = null;
    this.held = null;
    this.setState(state, "");
    this.face.onBanner(null);
    this.face.onOffer(null);
    this.face.onStopped(words);
  }

  /** @param {boolean} on */
  setSound(on) {
    this.soundOn = on;
    if (on) this.current?.startAudio(this.speaker);
    else this.current?.stopAudio();
  }

  /** @param {import("./events.js").WireEvent[]} events */
  sendEvents(events) {
    if (!this.current || this.current.closed) return;
    const now = performance.now();
    for (const event of events) if (event.seq !== undefined) this.screen.latency.handleSent(event.seq, now);
    this.current.connection.sendEvents(events);
  }

  /** Whatever change was under way is over. @returns {AbortSignal} */
  beginChange() {
    this.change.abort();
    this.change = new AbortController();
    this.pending = null;
    return this.change.signal;
  }

  /** @param {State} state @param {string} text */
  setState(state, text) {
    this.state = state;
    this.face.onState(state, text);
  }
}

/**
 * Asks again when two requests met at the center: the second look decides on what the first one left.
 * @param {string} path
 * @param {{body: unknown, token: string | null, signal: AbortSignal}} options
 */
async function insist(path, options) {
  for (let attempt = 1; ; attempt += 1) {
    try {
      return await request("POST", path, options);
    } catch (error) {
      if (!(error instanceof ApiError) || error.code !== "conflict" || attempt === CONFLICTS_MAX) throw error;
      await delay(CONFLICT_PAUSE_MS * attempt);
    }
  }
}

/** Whether both tickets lead to the same instance by the same entry. @param {Ticket} a @param {Ticket} b */
function sameWay(a, b) {
  return a.session === b.session && a.epoch === b.epoch && a.entry.node === b.entry.node && a.entry.address === b.entry.address;
}

/** The center knows no such session, or not with this key. @param {unknown} error */
function isGone(error) {
  return error instanceof ApiError && [401, 403, 404, 410].includes(error.status);
}

function garbled() {
  return new ApiError({ code: "garbled", message: "The center gave an answer this page does not understand.", status: 0 });
}

/** @param {string} state */
function appWords(state) {
  if (state === "starting") return "Starting the app…";
  if (state === "restarting") return "The app stopped and is being started again…";
  return "Waiting for the first picture…";
}
