// Which camera's view a viewer receives, in which rendition, and which views are made ready beside it.
//
// These are the decisions of crates/logic/src/view.rs, made here so that the picture follows the hand without asking
// anybody. Why they are as they are is written there. tests/vectors/view.json holds both sides to the same answers:
// whoever changes one changes the other. Times are milliseconds of one clock, angles degrees above -180 and at most 180.

/** @typedef {{camera: string, bearing: number}} Seat */
/** @typedef {{name: string, height: number, bitrate: number}} Form bitrate in bits a second; forms come the best first */
/** @typedef {{camera: string, rendition: string}} Feed */
/** @typedef {{view: Feed | null, warm: Feed[], near: string[]}} Wish */
/** @typedef {{throughput: number, lateMs: number, decodeQueue: number, roundTripMs: number}} Report */
/** @typedef {{seat: number, form: number}} Place */

const SLOW = 5;
const FAST = 25;
const REST = 250;
const SWITCH_MIN = 100;
const SENT_AHEAD = 100;
const MADE_AHEAD = 400;
const WARM_LINGER = 150;
export const WARM_MAX = 2;
const RETRY = 3_000;
const ZOOM_MAX = 8;

/** The same direction within a single turn. @param {number} degrees */
export function angle(degrees) {
  if (!Number.isFinite(degrees)) return 0;
  const rest = degrees % 360;
  const turned = rest < 0 ? rest + 360 : rest;
  return turned > 180 ? turned - 360 : turned;
}

/** @param {Feed | null | undefined} a @param {Feed | null | undefined} b */
export function sameFeed(a, b) {
  return a?.camera === b?.camera && a?.rendition === b?.rendition;
}

/**
 * Where the cameras of an event stand around its center.
 * @param {import("../shared/types.js").LiveManifest} manifest
 * @returns {Seat[]}
 */
export function seats(manifest) {
  return manifest.cameras.map((camera) => {
    const [x, y] = [camera.position[0] - manifest.center[0], camera.position[1] - manifest.center[1]];
    const bearing = x === 0 && y === 0 ? camera.yaw_degrees + 180 : (Math.atan2(y, x) * 180) / Math.PI;
    return { camera: camera.name, bearing: angle(bearing) };
  });
}

/**
 * All forms of an event's views, the best first.
 * @param {import("../shared/types.js").LiveManifest} manifest
 * @param {Form | null} source what the cameras send themselves, if that is known
 * @returns {Form[]}
 */
export function forms(manifest, source) {
  const all = manifest.renditions.map(({ name, height, bitrate_kbps }) => ({ name, height, bitrate: bitrate_kbps * 1000 }));
  if (!source) return all;
  return [source, ...all.filter((form) => form.bitrate < source.bitrate && form.height <= source.height)];
}

/** Decides for one viewer. After each `handle…`, ask `pollWish`. */
export class Viewer {
  /** @param {Seat[]} seats @param {Form[]} forms @param {number} at the angle @param {number} lines of the window @param {number} now */
  constructor(seats, forms, at, lines, now) {
    if (forms.length === 0) throw new Error("a view comes in some form");
    this.ring = new Ring(seats);
    this.forms = forms;
    this.hand = new Hand(at);
    this.supply = new Supply(forms, now);
    this.lines = lines;
    this.zoom = 1;
    this.roundTrip = 0;
    /** @type {number | null} */
    this.pinned = null;
    /** @type {number | null} */
    this.movedAt = null;
    /** @type {number | null} */
    this.switchedAt = null;
    /** @type {Place | null} */
    this.view = null;
    /** @type {Place | null} */
    this.shown = null;
    /** @type {{seat: number, form: number, until: number}[]} */
    this.warm = [];
    /** @type {string | null} */
    this.told = JSON.stringify({ view: null, warm: [], near: [] });
    this.now = now;
  }

  /** Where the hand turned to. @param {{angle: number, zoom: number}} gesture @param {number} now */
  handleGesture(gesture, now) {
    this.now = Math.max(this.now, now);
    this.zoom = Number.isFinite(gesture.zoom) ? Math.min(Math.max(gesture.zoom, 1), ZOOM_MAX) : 1;
    if (this.hand.turn(angle(gesture.angle), this.now)) this.pinned = null;
    this.decide();
  }

  /** A camera was chosen by name. @param {string} camera @param {number} now */
  handleChoice(camera, now) {
    this.now = Math.max(this.now, now);
    const seat = this.ring.find(camera);
    if (seat >= 0) {
      this.pinned = seat;
      this.hand.jump(this.ring.bearing(seat));
      this.movedAt = this.now;
    }
    this.decide();
  }

  /** All cameras that are live now. @param {string[]} cameras @param {number} now */
  handleLive(cameras, now) {
    this.now = Math.max(this.now, now);
    this.ring.setLive(cameras);
    this.decide();
  }

  /** The window has so many lines. @param {number} lines @param {number} now */
  handleWindow(lines, now) {
    this.now = Math.max(this.now, now);
    this.lines = lines;
    this.decide();
  }

  /** How the link and the decoder do, every 200 ms. @param {Report} report @param {number} now */
  handleReport(report, now) {
    this.now = Math.max(this.now, now);
    this.roundTrip = report.roundTripMs;
    if (this.shown) this.supply.handleReport(report, this.shown.form, this.now);
    this.decide();
  }

  /** What is seen now. @param {Feed} feed @param {number} now */
  handleShown(feed, now) {
    this.now = Math.max(this.now, now);
    const shown = this.index(feed);
    if (shown) {
      if (shown.form !== this.shown?.form) this.supply.handleChange(this.now);
      this.shown = shown;
    }
    this.decide();
  }

  /** Something could not be shown in time. @param {Feed} feed @param {number} now */
  handleFailure(feed, now) {
    this.now = Math.max(this.now, now);
    const failed = this.index(feed);
    if (failed) {
      if (this.shown?.seat === failed.seat) this.supply.handleFailure(failed.form, this.now);
      else this.ring.leaveOut(failed.seat, this.now + RETRY);
    }
    this.told = null;
    this.decide();
  }

  /** @param {number} now */
  handleTimeout(now) {
    this.now = Math.max(this.now, now);
    this.decide();
  }

  /** What should be received, if that has changed or something has failed. @returns {Wish | null} */
  pollWish() {
    const wish = this.wish();
    const text = JSON.stringify(wish);
    if (text === this.told) return null;
    this.told = text;
    return wish;
  }

  /** When to call `handleTimeout`, if ever. @returns {number | null} */
  pollTimeout() {
    const times = [this.hand.stillAt(), this.ring.backAt(this.now), ...this.warm.map((it) => it.until)];
    if (this.switchedAt !== null) times.push(this.switchedAt + SWITCH_MIN);
    if (this.movedAt !== null) times.push(this.movedAt + REST);
    return earliest(times, this.now);
  }

  /** How fast the hand turns, in degrees a second. */
  speed() {
    return this.hand.speed(this.now);
  }

  decide() {
    const speed = this.hand.speed(this.now);
    if (Math.abs(speed) >= SLOW) this.movedAt = this.now;
    const moving = this.movedAt !== null && this.now < this.movedAt + REST;
    this.decideView(moving);
    this.decideWarm(speed, moving);
    this.decideForm(moving);
  }

  /** @param {boolean} moving */
  decideView(moving) {
    const present = this.view && this.ring.usable(this.view.seat, this.now) ? this.view : null;
    const pinned = this.pinned !== null && this.ring.usable(this.pinned, this.now) ? this.pinned : null;
    const seat = pinned ?? this.ring.nearest(this.hand.angle, present?.seat ?? null, this.now);
    if (seat === null) {
      this.view = null;
      return;
    }
    if (present?.seat === seat) return;
    if (present && this.switchedAt !== null && this.now < this.switchedAt + SWITCH_MIN) return;
    const warm = this.warm.find((it) => it.seat === seat);
    const form = warm ? warm.form : moving ? this.forms.length - 1 : this.best();
    this.view = { seat, form };
    this.switchedAt = this.now;
    this.warm = this.warm.filter((it) => it.seat !== seat);
  }

  /** @param {number} speed @param {boolean} moving */
  decideWarm(speed, moving) {
    this.warm = this.warm.filter((it) => it.until > this.now && this.ring.usable(it.seat, this.now));
    if (!this.view) {
      this.warm = [];
      return;
    }
    if (!moving || Math.abs(speed) < SLOW) return;
    const early = this.forms.length > 1 ? MADE_AHEAD : SENT_AHEAD;
    const reach = Math.abs(speed) * seconds(early + 2 * this.roundTrip);
    const ahead = this.ring.ahead(this.view.seat, this.hand.angle, speed > 0, reach, this.now);
    const until = this.now + WARM_LINGER;
    const form = this.movingForm(speed, ahead.length);
    for (const seat of ahead) {
      const warm = this.warm.find((it) => it.seat === seat);
      if (warm) {
        warm.until = until;
        continue;
      }
      if (this.warm.length === WARM_MAX) {
        const oldest = Math.min(...this.warm.map((it) => it.until));
        if (oldest === until) return;
        this.warm.splice(this.warm.findIndex((it) => it.until === oldest), 1);
      }
      this.warm.push({ seat, form, until });
    }
  }

  /** @param {boolean} moving */
  decideForm(moving) {
    if (this.view) this.view.form = moving ? Math.max(this.best(), this.view.form) : this.best();
  }

  best() {
    return Math.max(this.supply.reach, this.enough());
  }

  /** @param {number} speed @param {number} warm */
  movingForm(speed, warm) {
    const last = this.forms.length - 1;
    const wanted = Math.abs(speed) >= FAST ? last : Math.floor((this.best() + last) / 2);
    const carried = this.forms[this.supply.reach].bitrate;
    for (let form = wanted; form < last; form += 1) {
      if (this.forms[form].bitrate * (1 + warm) <= carried) return form;
    }
    return last;
  }

  enough() {
    return Math.max(0, this.forms.findLastIndex((form) => form.height >= this.lines * this.zoom));
  }

  /** @returns {Wish} */
  wish() {
    const feed = (/** @type {Place} */ place) => ({ camera: this.ring.camera(place.seat), rendition: this.forms[place.form].name });
    const warm = this.warm.map(feed);
    const beside = this.view ? this.ring.neighbours(this.view.seat, this.now).map((seat) => this.ring.camera(seat)) : [];
    return { view: this.view ? feed(this.view) : null, warm, near: beside.filter((camera) => !warm.some((it) => it.camera === camera)) };
  }

  /** @param {Feed} feed @returns {Place | null} */
  index(feed) {
    const seat = this.ring.find(feed.camera);
    const form = this.forms.findIndex((it) => it.name === feed.rendition);
    return seat < 0 || form < 0 ? null : { seat, form };
  }
}

const WINDOW = 120;
const SPAN_MIN = 8;
const GESTURES_MAX = 16;
const TURN_MIN = 1e-6;

/** How fast the hand turns. */
class Hand {
  /** @param {number} at */
  constructor(at) {
    this.angle = angle(at);
    this.turned = 0;
    /** @type {{at: number, turned: number}[]} */
    this.gestures = [];
  }

  /** Whether the hand turned at all. @param {number} to @param {number} now */
  turn(to, now) {
    const by = angle(to - this.angle);
    this.angle = to;
    this.turned += by;
    while (this.gestures.length >= GESTURES_MAX || (this.gestures.length > 0 && now > this.gestures[0].at + WINDOW)) this.gestures.shift();
    this.gestures.push({ at: now, turned: this.turned });
    return Math.abs(by) > TURN_MIN;
  }

  /** @param {number} to */
  jump(to) {
    this.angle = to;
    this.gestures = [];
  }

  /** @param {number} now */
  speed(now) {
    const recent = this.gestures.filter((it) => now < it.at + WINDOW);
    if (recent.length < 2) return 0;
    const [first, last] = [recent[0], recent[recent.length - 1]];
    const span = last.at - first.at;
    return span < SPAN_MIN ? 0 : (last.turned - first.turned) / seconds(span);
  }

  stillAt() {
    const last = this.gestures.at(-1);
    return last ? last.at + WINDOW : null;
  }
}

const BORDER = 3;
const BORDER_SHARE = 0.2;

/** The cameras around an event, by bearing. */
class Ring {
  /** @param {Seat[]} seats */
  constructor(seats) {
    const sorted = [...seats].sort((a, b) => a.bearing - b.bearing || (a.camera < b.camera ? -1 : a.camera > b.camera ? 1 : 0));
    this.places = sorted.map((seat) => ({ seat, live: false, leftOutUntil: -Infinity }));
  }

  /** @param {string} camera */
  find(camera) {
    return this.places.findIndex((it) => it.seat.camera === camera);
  }

  /** @param {number} seat */
  camera(seat) {
    return this.places[seat].seat.camera;
  }

  /** @param {number} seat */
  bearing(seat) {
    return this.places[seat].seat.bearing;
  }

  /** @param {string[]} cameras */
  setLive(cameras) {
    for (const place of this.places) place.live = cameras.includes(place.seat.camera);
  }

  /** @param {number} seat @param {number} until */
  leaveOut(seat, until) {
    this.places[seat].leftOutUntil = until;
  }

  /** @param {number} now */
  backAt(now) {
    return earliest(this.places.map((it) => it.leftOutUntil), now);
  }

  /** @param {number} seat @param {number} now */
  usable(seat, now) {
    const place = this.places[seat];
    return place.live && place.leftOutUntil <= now;
  }

  /** @param {number} at @param {number | null} present @param {number} now @returns {number | null} */
  nearest(at, present, now) {
    const away = (/** @type {number} */ seat) => Math.abs(angle(at - this.bearing(seat)));
    /** @type {number | null} */
    let nearest = null;
    for (let seat = 0; seat < this.places.length; seat += 1) {
      if (this.usable(seat, now) && (nearest === null || away(seat) < away(nearest))) nearest = seat;
    }
    if (nearest === null || present === null) return nearest;
    const gap = angle(this.bearing(nearest) - this.bearing(present));
    const margin = Math.min(BORDER, Math.abs(gap) * BORDER_SHARE);
    const gain = away(present) - away(nearest);
    return gain > 0 && gain >= 2 * margin ? nearest : present;
  }

  /** @param {number} from @param {number} at @param {boolean} counterclockwise @param {number} reach @param {number} now */
  ahead(from, at, counterclockwise, reach, now) {
    const offset = (/** @type {number} */ seat) => (counterclockwise ? 1 : -1) * angle(this.bearing(seat) - at);
    /** @type {number[]} */
    const ahead = [];
    let [seat, before] = [from, offset(from)];
    while (ahead.length < WARM_MAX) {
      const next = this.next(seat, counterclockwise, now);
      if (next === null || next === from) break;
      let there = offset(next);
      while (there < before) there += 360;
      if ((before + there) / 2 > reach) break;
      ahead.push(next);
      [seat, before] = [next, there];
    }
    return ahead;
  }

  /** @param {number} seat @param {number} now @returns {number[]} */
  neighbours(seat, now) {
    const [left, right] = [this.next(seat, true, now), this.next(seat, false, now)];
    const both = left === right ? [left] : [left, right];
    return both.filter((it) => it !== null && it !== seat).map(Number);
  }

  /** @param {number} seat @param {boolean} counterclockwise @param {number} now @returns {number | null} */
  next(seat, counterclockwise, now) {
    const count = this.places.length;
    const step = counterclockwise ? 1 : count - 1;
    for (let it = 1; it <= count; it += 1) {
      const there = (seat + it * step) % count;
      if (this.usable(there, now)) return there;
    }
    return null;
  }
}

const LATE_BAD = 150;
const LATE_GOOD = 60;
const QUEUE_BAD = 8;
const QUEUE_GOOD = 3;
const CLEAN = 1_000;
const FALL_EVERY = 600;
const HOLD = 2_000;
const HOLD_MAX = 32_000;
const SHARE_TENTHS = 8;

/** What the link and the decoder carry: found out by trying, kept while it holds. */
class Supply {
  /** @param {Form[]} forms @param {number} now */
  constructor(forms, now) {
    this.bitrates = forms.map((it) => it.bitrate);
    this.reach = forms.length - 1;
    /** @type {number | null} */
    this.cleanSince = null;
    this.heldUntil = now;
    this.hold = HOLD;
    /** @type {number | null} */
    this.roseAt = null;
    /** @type {number | null} */
    this.fellAt = null;
  }

  /** @param {number} now */
  handleChange(now) {
    this.cleanSince = now;
  }

  /** @param {Report} report @param {number} shown @param {number} now */
  handleReport(report, shown, now) {
    if (report.lateMs >= LATE_BAD || report.decodeQueue >= QUEUE_BAD) {
      this.cleanSince = null;
      const share = Math.floor(report.throughput / 10) * SHARE_TENTHS;
      const fits = this.bitrates.findIndex((it) => it <= share);
      this.fall(Math.max(fits < 0 ? this.bitrates.length - 1 : fits, shown + 1), now);
    } else if (report.lateMs <= LATE_GOOD && report.decodeQueue <= QUEUE_GOOD) {
      this.cleanSince ??= now;
      const proven = now >= this.cleanSince + CLEAN && shown === this.reach;
      if (proven && this.reach > 0 && now >= this.heldUntil) {
        this.reach -= 1;
        this.roseAt = now;
        this.cleanSince = null;
      }
    } else {
      this.cleanSince = null;
    }
  }

  /** @param {number} form @param {number} now */
  handleFailure(form, now) {
    this.cleanSince = null;
    this.fall(form + 1, now);
  }

  /** @param {number} to @param {number} now */
  fall(to, now) {
    if (this.fellAt !== null && now < this.fellAt + FALL_EVERY) return;
    const tried = this.roseAt !== null && now < this.roseAt + 2 * this.hold;
    this.roseAt = null;
    this.hold = tried ? Math.min(2 * this.hold, HOLD_MAX) : HOLD;
    this.heldUntil = now + this.hold;
    this.fellAt = now;
    this.reach = Math.min(Math.max(this.reach, to), this.bitrates.length - 1);
  }
}

/** To the microsecond, as the other side counts. @param {number} ms */
function seconds(ms) {
  return Math.trunc(ms * 1e3) / 1e6;
}

/** @param {(number | null)[]} times @param {number} now @returns {number | null} */
function earliest(times, now) {
  let first = Infinity;
  for (const time of times) if (time !== null && time > now && time < first) first = time;
  return first === Infinity ? null : first;
}
