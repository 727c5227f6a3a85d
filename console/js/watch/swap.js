// Changes what is seen without a gap: the new view is received and decoded hidden until its time has caught up with
// what is seen, then they are swapped, then the old one is dropped.
//
// The decisions of crates/logic/src/view/swap.rs, where it is written why; tests/vectors/view.json holds both sides to
// the same answers. Times are milliseconds of one clock; a frame's timestamp is milliseconds of the event.

import { WARM_MAX, sameFeed } from "./view.js";

/** @typedef {import("./view.js").Feed} Feed */
/** @typedef {{do: "subscribe" | "unsubscribe" | "gaveUp", feed: Feed} | {do: "show", feed: Feed, waitedMs: number}} Action */

const SLACK = 17;
const SLACK_MAX = 250;
const STALE = 300;
const GIVE_UP = 2_000;
const FEEDS_MAX = 2 + WARM_MAX;

/** Makes a viewer's wish so. After each `handle…`, carry out what `pollAction` says until it says `undefined`. */
export class Swap {
  /** @param {number} now */
  constructor(now) {
    /** @type {{feed: Feed, newest: {timestamp: number, at: number} | null}[]} */
    this.received = [];
    /** What is seen. @type {Feed | null} */
    this.shown = null;
    /** @type {{feed: Feed, since: number} | null} */
    this.wanted = null;
    /** @type {Feed[]} */
    this.warm = [];
    /** @type {Action[]} */
    this.actions = [];
    this.now = now;
  }

  /** What should be received. @param {import("./view.js").Wish} wish @param {number} now */
  handleWish(wish, now) {
    this.now = Math.max(this.now, now);
    this.warm = wish.warm.slice(0, WARM_MAX);
    if (!wish.view || (this.shown && sameFeed(this.shown, wish.view))) this.wanted = null;
    else if (!this.wanted || !sameFeed(this.wanted.feed, wish.view)) this.wanted = { feed: wish.view, since: this.now };
    this.tryShow();
    this.receiveWhatIsWanted();
  }

  /** A frame was decoded. @param {Feed} feed @param {number} timestamp @param {number} now */
  handleFrame(feed, timestamp, now) {
    this.now = Math.max(this.now, now);
    const received = this.received.find((it) => sameFeed(it.feed, feed));
    if (received) received.newest = { timestamp: Math.max(timestamp, received.newest?.timestamp ?? timestamp), at: this.now };
    this.tryShow();
  }

  /** @param {number} now */
  handleTimeout(now) {
    this.now = Math.max(this.now, now);
    this.tryShow();
    if (this.wanted && this.now >= this.wanted.since + GIVE_UP) {
      const { feed } = this.wanted;
      this.wanted = null;
      this.received = this.received.filter((it) => !sameFeed(it.feed, feed));
      this.warm = this.warm.filter((it) => !sameFeed(it, feed));
      this.actions.push({ do: "gaveUp", feed });
    }
  }

  /** @returns {Action | undefined} */
  pollAction() {
    return this.actions.shift();
  }

  /** When to call `handleTimeout`, if ever. @returns {number | null} */
  pollTimeout() {
    if (!this.wanted) return null;
    const giveUp = this.wanted.since + GIVE_UP;
    const newest = this.newestShown();
    const stale = newest ? newest.at + STALE : -Infinity;
    return stale > this.now ? Math.min(stale, giveUp) : giveUp;
  }

  receiveWhatIsWanted() {
    const wanted = [this.shown, this.wanted?.feed ?? null, ...this.warm].flatMap((it) => it ?? []);
    this.received = this.received.filter(({ feed }) => {
      const keep = wanted.some((it) => sameFeed(it, feed));
      if (!keep) this.actions.push({ do: "unsubscribe", feed });
      return keep;
    });
    for (const feed of wanted) {
      if (this.received.length < FEEDS_MAX && !this.received.some((it) => sameFeed(it.feed, feed))) {
        this.actions.push({ do: "subscribe", feed });
        this.received.push({ feed, newest: null });
      }
    }
  }

  tryShow() {
    if (!this.wanted) return;
    const { feed, since } = this.wanted;
    const there = this.newest(feed);
    if (!there) return;
    const waitedMs = this.now - since;
    const here = this.newestShown();
    const waitsForIt = here !== null && this.now < here.at + STALE;
    if (waitsForIt && here.timestamp - there.timestamp > Math.min(SLACK + waitedMs / 4, SLACK_MAX)) return;
    this.wanted = null;
    this.actions.push({ do: "show", feed, waitedMs });
    this.shown = feed;
    this.receiveWhatIsWanted();
  }

  newestShown() {
    return this.shown && this.newest(this.shown);
  }

  /** @param {Feed} feed */
  newest(feed) {
    return this.received.find((it) => sameFeed(it.feed, feed))?.newest ?? null;
  }
}
