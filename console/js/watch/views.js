// Carries out what `Viewer` and `Swap` decide: subscribes, decodes hidden, swaps, drops, and measures how long that took.

import { Rate } from "../shared/measure.js";
import { Feed } from "./feed.js";
import { SOURCE } from "./protocol.js";
import { Swap } from "./swap.js";
import { Viewer, forms, sameFeed, seats } from "./view.js";

/** @typedef {import("../shared/types.js").LiveManifest} LiveManifest */
/** @typedef {import("./attachment.js").Attachment} Attachment */
/** @typedef {import("./feed.js").Decoded} Decoded */
/** @typedef {import("./view.js").Feed} FeedName */
/** @typedef {{from: string, to: string, ms: number, rendition: string, by: "hand" | "loss"}} Switch */

/** How often the decisions hear of the link and the decoder, in milliseconds. */
const REPORT_EVERY_MS = 200;
/** Rates shown to people are taken over this long, in milliseconds. */
const RATE_WINDOW_MS = 2_000;
/** Switches that are remembered. */
const SWITCHES_MAX = 200;
/** A camera that is said to be on air and sends nothing for this long is passed over, in milliseconds. */
const STUCK_MS = 2_500;
/** Whoever was heard so lately is there, in milliseconds. */
const ALIVE_MS = 750;
/** It gets another chance after this long, in milliseconds. */
const STUCK_FOR_MS = 4_000;
/** Without a picture for this long the picture stood still, as a person sees it, in milliseconds. */
const STALL_MS = 400;
/** What is so much older than the newest picture of any camera is not live, in milliseconds. */
const HISTORY_MS = 2_000;
/**
 * What is seen goes before what shall be seen next, of which a whole group comes at once, and that before what is made
 * ready; sound goes before all.
 */
const PRIORITY = { seen: 200, next: 160, warm: 120 };
/** A camera whose rate is not known sends what most do, in bits a second. */
const SOURCE_BITRATE = 4_000_000;

/** The views of one event. */
export class Views {
  /**
   * @param {object} parts
   * @param {LiveManifest} parts.manifest
   * @param {import("./picture.js").Picture} parts.picture
   * @param {(from: string, to: string) => void} parts.onTakenOver  Another camera is seen because one was lost.
   * @param {(switched: Switch) => void} parts.onSwitched
   * @param {number} angle
   */
  constructor(parts, angle) {
    this.manifest = parts.manifest;
    this.picture = parts.picture;
    this.onTakenOver = parts.onTakenOver;
    this.onSwitched = parts.onSwitched;
    this.seats = seats(parts.manifest);
    this.angle = angle;
    this.zoom = 1;
    this.lines = 720;
    /** @type {Attachment | null} */
    this.attachment = null;
    /** @type {import("./view.js").Form | null} */
    this.source = null;
    const made = forms(this.manifest, null);
    // Where edges make none there is what cameras send, of which nothing is known yet.
    this.forms = made.length > 0 ? made : [{ name: SOURCE, height: this.lines, bitrate: SOURCE_BITRATE }];
    this.viewer = this.makeViewer();
    this.swap = new Swap(performance.now());
    /** @type {Feed[]} */
    this.feeds = [];
    /** What should be seen, and since when it should. @type {{camera: string, from: string, at: number, by: "hand" | "loss"} | null} */
    this.asked = null;
    /** The camera that should be seen. */
    this.camera = "";
    /** When the hand moved last, by which a switch is measured. */
    this.gestureAt = -Infinity;
    this.paused = false;
    /** The time of the newest picture of any camera. */
    this.newest = -Infinity;
    /** @type {Switch[]} */
    this.switches = [];
    /** Cameras that are passed over for a while, and until when. @type {Map<string, number>} */
    this.stuck = new Map();
    this.stalls = 0;
    this.stalled = false;
    this.bytes = new Rate(RATE_WINDOW_MS);
    this.seen = new Rate(RATE_WINDOW_MS);
    this.reportedAt = performance.now();
    this.reportBytes = 0;
    this.timer = 0;
    this.reports = setInterval(() => this.handleReport(), REPORT_EVERY_MS);
  }

  makeViewer() {
    return new Viewer(this.seats, this.forms, this.angle, this.lines, performance.now());
  }

  /** The cameras and how they come have changed, or come from elsewhere. @param {Attachment} attachment */
  handleCameras(attachment) {
    this.attachment = attachment;
    this.learnForms(attachment);
    this.viewer.handleLive(this.live(), performance.now());
    this.settle();
  }

  /** Cameras that can be watched now. */
  live() {
    const now = performance.now();
    return [...(this.attachment?.onAir ?? [])].filter((camera) => (this.stuck.get(camera) ?? 0) <= now);
  }

  /** What cameras send themselves is a form, too, once it is known. @param {Attachment} attachment */
  learnForms(attachment) {
    const videos = [...attachment.infos.values()].flatMap(({ video }) => video ?? []);
    const [first] = videos;
    if (!first) return;
    const bitrate = Math.max(...videos.map((it) => it.bitrate)) || SOURCE_BITRATE;
    const height = Math.min(...videos.map((it) => it.height)) || first.height;
    // A rate that wanders is the same form; the decisions begin anew with another one.
    const same = this.source && this.source.height === height && Math.abs(this.source.bitrate / bitrate - 1) < 0.5;
    if (same) return;
    this.source = { name: SOURCE, height, bitrate };
    // What cannot be had of each camera would fail where it is wanted.
    const offers = [...attachment.infos.values()].filter(({ video }) => video);
    this.handleForms(forms(this.manifest, this.source).filter(({ name }) => name === SOURCE || offers.every(({ renditions }) => renditions.includes(name))));
  }

  /** @param {import("./view.js").Form[]} all */
  handleForms(all) {
    const now = performance.now();
    const { viewer } = this;
    const carried = this.forms[viewer.supply.reach].bitrate;
    this.forms = all;
    this.viewer = this.makeViewer();
    // What the link was found to carry it still carries.
    const reach = all.findIndex(({ bitrate }) => bitrate <= carried);
    if (reach >= 0) this.viewer.supply.reach = reach;
    this.viewer.roundTrip = viewer.roundTrip;
    this.viewer.zoom = this.zoom;
    if (this.swap.shown) this.viewer.handleShown(this.swap.shown, now);
  }

  /** @param {number} angle @param {number} zoom */
  handleGesture(angle, zoom) {
    const now = performance.now();
    this.angle = angle;
    this.zoom = zoom;
    this.gestureAt = now;
    this.viewer.handleGesture({ angle, zoom }, now);
    this.settle();
  }

  /** @param {string} camera */
  handleChoice(camera) {
    const now = performance.now();
    this.gestureAt = now;
    this.viewer.handleChoice(camera, now);
    this.settle();
  }

  /** @param {number} lines */
  handleWindow(lines) {
    this.lines = lines;
    this.viewer.handleWindow(lines, performance.now());
    this.settle();
  }

  /** Carries out what was decided, until nothing is left to do. */
  settle() {
    if (this.paused || !this.attachment) return;
    const now = performance.now();
    for (;;) {
      const wish = this.viewer.pollWish();
      if (wish) {
        this.measureFrom(wish.view, now);
        this.swap.handleWish(wish, now);
      }
      const actions = this.drain();
      for (const action of actions) this.act(action, now);
      if (!wish && actions.length === 0) break;
    }
    clearTimeout(this.timer);
    const next = Math.min(this.viewer.pollTimeout() ?? Infinity, this.swap.pollTimeout() ?? Infinity);
    if (next < Infinity) this.timer = setTimeout(() => this.handleTimeout(), Math.max(1, next - now));
  }

  drain() {
    const actions = [];
    for (let action = this.swap.pollAction(); action; action = this.swap.pollAction()) actions.push(action);
    return actions;
  }

  handleTimeout() {
    const now = performance.now();
    this.viewer.handleTimeout(now);
    this.swap.handleTimeout(now);
    this.settle();
  }

  /** @param {FeedName | null} view @param {number} now */
  measureFrom(view, now) {
    const camera = view?.camera ?? "";
    if (camera === this.camera) return;
    const from = this.camera;
    this.camera = camera;
    const lost = from !== "" && !this.live().includes(from);
    if (camera !== "" && from !== "") this.asked = { camera, from: this.asked?.from ?? from, at: lost ? now : this.gestureAt, by: lost ? "loss" : "hand" };
    if (lost && camera !== "") this.onTakenOver(from, camera);
  }

  /** @param {import("./swap.js").Action} action @param {number} now */
  act(action, now) {
    const feed = this.feeds.find(({ name }) => sameFeed(name, action.feed));
    switch (action.do) {
      case "subscribe":
        this.open(action.feed);
        break;
      case "show":
        this.viewer.handleShown(action.feed, now);
        feed?.rank(PRIORITY.seen);
        if (feed) this.picture.show(feed.release());
        break;
      case "gaveUp":
        this.drop(feed);
        this.viewer.handleFailure(action.feed, now);
        break;
      case "unsubscribe":
        this.drop(feed);
        break;
    }
  }

  /** @param {FeedName} name */
  open(name) {
    if (!this.attachment) return;
    const priority = name.camera === this.camera ? PRIORITY.next : PRIORITY.warm;
    this.feeds.push(this.makeFeed(this.attachment, name, priority));
  }

  /** @param {Attachment} attachment @param {FeedName} name @param {number} priority */
  makeFeed(attachment, name, priority) {
    return new Feed({
      attachment,
      name,
      priority,
      isHistory: (timestamp) => this.isHistory(timestamp),
      onDecoded: (feed, decoded) => this.handleDecoded(feed, decoded),
      onBytes: (bytes) => {
        const now = performance.now();
        this.bytes.add(now, bytes);
        this.reportBytes += bytes;
        if (sameFeed(name, this.swap.shown)) this.seen.add(now, bytes);
      },
    });
  }

  /** Whether a time of the event is long past. @param {number} timestamp */
  isHistory(timestamp) {
    return timestamp < this.newest - HISTORY_MS;
  }

  /** @param {Feed | undefined} feed */
  drop(feed) {
    feed?.close();
    this.feeds = this.feeds.filter((it) => it !== feed);
  }

  /** @param {Feed} feed @param {Decoded} decoded */
  handleDecoded(feed, decoded) {
    // A feed that is not among them comes over another connection, and waits there.
    if (!this.feeds.includes(feed)) {
      feed.hold(decoded);
      return;
    }
    const now = performance.now();
    this.newest = Math.max(this.newest, decoded.timestamp);
    const seen = sameFeed(this.swap.shown, feed.name);
    if (seen) this.picture.push(decoded);
    else feed.hold(decoded);
    this.swap.handleFrame(feed.name, decoded.timestamp, now);
    this.settle();
  }

  /** A picture is on the screen. @param {{camera: string, rendition: string, now: number}} drawn */
  handleDrawn({ camera, rendition, now }) {
    if (this.stalled) this.stalled = false;
    if (!this.asked || this.asked.camera !== camera) return;
    const { from, at, by } = this.asked;
    this.asked = null;
    /** @type {Switch} */
    const switched = { from, to: camera, ms: now - at, rendition, by };
    this.switches.push(switched);
    if (this.switches.length > SWITCHES_MAX) this.switches.shift();
    this.onSwitched(switched);
  }

  handleReport() {
    const now = performance.now();
    const span = now - this.reportedAt;
    const bytes = this.reportBytes;
    this.reportedAt = now;
    this.reportBytes = 0;
    const feed = this.shownFeed();
    if (!feed || this.paused || span > REPORT_EVERY_MS * 5) return;
    const roundTripMs = this.attachment?.roundTripMs ?? 0;
    const report = feed.report.finish(now, { decodeQueue: feed.decodeQueue, roundTripMs });
    const silent = feed.lastAt === null ? 0 : now - feed.lastAt;
    // What does not come at all is later than anything.
    const lateMs = Math.max(report.late_ms, silent > REPORT_EVERY_MS ? silent : 0);
    this.viewer.handleReport({ throughput: Math.round((bytes * 8_000) / span), lateMs, decodeQueue: feed.decodeQueue, roundTripMs }, now);
    this.judge(now);
    this.settle();
  }

  /** Counts stalls, and passes over a camera that sends nothing. @param {number} now */
  judge(now) {
    for (const [camera, until] of this.stuck) {
      if (until > now) continue;
      this.stuck.delete(camera);
      this.viewer.handleLive(this.live(), now);
    }
    const feed = this.shownFeed();
    const since = this.picture.gaps.lastAt === null ? 0 : now - this.picture.gaps.lastAt;
    if (document.hidden) return;
    if (since > STALL_MS && !this.stalled) {
      this.stalled = true;
      this.stalls += 1;
    }
    const alive = this.attachment !== null && now - this.attachment.heardAt < ALIVE_MS;
    const silent = feed ? feed.lastAt === null || now - feed.lastAt > STUCK_MS : false;
    if (feed && silent && alive && since > STUCK_MS && this.live().length > 1 && feed.name.camera === this.camera) {
      this.stuck.set(feed.name.camera, now + STUCK_FOR_MS);
      this.viewer.handleLive(this.live(), now);
    }
  }

  shownFeed() {
    return this.feeds.find(({ name }) => sameFeed(name, this.swap.shown)) ?? null;
  }

  /**
   * Begins what is seen over another connection, hidden.
   * @param {Attachment} attachment
   * @returns {Feed | null}
   */
  prepare(attachment) {
    const name = this.swap.wanted?.feed ?? this.swap.shown;
    return name && attachment.onAir.has(name.camera) ? this.makeFeed(attachment, name, PRIORITY.seen) : null;
  }

  /** From now on everything comes over this connection. @param {Attachment} attachment @param {Feed | null} prepared */
  changeOver(attachment, prepared) {
    const names = this.feeds.map(({ name }) => name);
    for (const feed of this.feeds) feed.close();
    this.attachment = attachment;
    this.feeds = [];
    for (const name of names) {
      if (prepared && sameFeed(prepared.name, name)) this.feeds.push(prepared);
      else this.feeds.push(this.makeFeed(attachment, name, sameFeed(name, this.swap.shown) ? PRIORITY.seen : PRIORITY.warm));
    }
    if (prepared && !this.feeds.includes(prepared)) prepared.close();
    else if (prepared && sameFeed(prepared.name, this.swap.shown)) this.picture.show(prepared.release());
    this.handleCameras(attachment);
  }

  /** Receives nothing until `resume`. The picture stands. */
  pause() {
    this.paused = true;
    clearTimeout(this.timer);
    for (const feed of this.feeds) feed.close();
    this.feeds = [];
    this.picture.clear();
    this.asked = null;
  }

  /** Goes on at what is live. */
  resume() {
    this.paused = false;
    const now = performance.now();
    this.swap = new Swap(now);
    this.viewer.told = null;
    this.picture.gaps.lastAt = null;
    this.settle();
  }

  close() {
    this.pause();
    clearInterval(this.reports);
  }
}
