// The viewer's page: puts the views, the picture, the sound and the hand together, and says what happens.

import { PlaceChooser } from "../shared/chooser.js";
import { byId, h } from "../shared/dom.js";
import { milliseconds, placeName } from "../shared/format.js";
import { icon } from "../shared/icons.js";
import { percentile } from "../shared/measure.js";
import { applyTheme, switchTheme } from "../shared/theme.js";
import { adoptToken } from "../shared/token.js";
import { missingFromBrowser, showStopped } from "../shared/words.js";
import { installAutomation } from "./automation.js";
import { Hands } from "./hands.js";
import { showStats } from "./overlay.js";
import { Picture } from "./picture.js";
import { Playout } from "./playout.js";
import { Ring } from "./ring.js";
import { WatchSession } from "./session.js";
import { Sound } from "./sound.js";
import { Strip } from "./strip.js";
import { Turn } from "./turn.js";
import { angle } from "./view.js";
import { Views } from "./views.js";
import { Zoom } from "./zoom.js";

/** @typedef {import("../shared/types.js").WatchTicket} WatchTicket */
/** @typedef {import("../shared/words.js").Words} Words */

/** A drag over the whole window turns so far, in degrees; the same on any screen. */
const DRAG_DEGREES = 150;
/** The tour stays at a camera this long, in milliseconds. */
const TOUR_STAY_MS = 5_000;
/** How often what is shown of the measurements is renewed, in milliseconds. */
const STATS_EVERY_MS = 500;
/** How long a short notice stays, in milliseconds. */
const NOTICE_MS = 5_000;

/** The page. */
export class Watcher {
  /** @param {string} event */
  constructor(event) {
    this.event = event;
    this.stage = byId("stage", HTMLElement);
    this.banner = byId("banner", HTMLElement);
    this.panel = byId("stats", HTMLElement);
    this.deck = byId("deck", HTMLElement);
    this.playout = new Playout();
    this.picture = new Picture(byId("screen", HTMLCanvasElement), this.playout, (drawn) => this.handleDrawn(drawn));
    this.sound = new Sound(this.playout, (bytes) => this.views?.bytes.add(performance.now(), bytes));
    this.zoom = new Zoom();
    this.turn = new Turn(0);
    /** @type {import("../shared/types.js").LiveManifest | null} */
    this.manifest = null;
    /** @type {Views | null} */
    this.views = null;
    /** @type {Ring | null} */
    this.ring = null;
    /** @type {Strip | null} */
    this.strip = null;
    /** @type {Words | null} */
    this.stopped = null;
    this.soundWanted = false;
    this.turning = 0;
    this.tour = 0;
    this.bannerTimer = 0;
    this.hintTimer = 0;
    this.session = new WatchSession(event, {
      onState: (state, text) => this.showState(state, text),
      onBanner: (text, lastsMs) => this.showBanner(text, lastsMs),
      onEvent: (ticket) => this.begin(ticket),
      onCameras: () => this.showCameras(),
      onStopped: (words) => this.showStopped(words),
    });
    this.chooser = new PlaceChooser({
      onChosen: (place) => this.session.moveTo(place),
      onFailure: (text) => this.showBanner(text, NOTICE_MS),
    });
    this.tools = this.makeTools();
    this.hands = this.makeHands();
    this.listen();
  }

  makeTools() {
    /** @param {import("../shared/icons.js").IconName} name @param {string} label @param {() => void} act */
    const tool = (name, label, act) => h("button", { class: "button plain icon-only", type: "button", title: label, "aria-label": label, onclick: act }, icon(name));
    const tools = {
      theme: tool("theme", "Light or dark", switchTheme),
      stats: tool("stats", "Measurements (S)", () => this.toggleStats()),
      fullscreen: tool("fullscreen", "Fullscreen (F)", () => void this.toggleFullscreen()),
      left: tool("back", "The next camera to the left (←)", () => this.step(-1)),
      play: tool("pause", "Pause (space)", () => this.togglePause()),
      right: tool("next", "The next camera to the right (→)", () => this.step(1)),
      sound: tool("muted", "Sound is off (M)", () => void this.toggleSound()),
      tour: tool("tour", "Tour of all cameras (T)", () => this.toggleTour()),
      cameras: tool("cameras", "All cameras (C)", () => this.toggleStrip()),
    };
    byId("tools", HTMLElement).append(tools.theme, tools.stats, tools.fullscreen);
    byId("controls", HTMLElement).append(tools.left, tools.play, tools.right, tools.sound, tools.tour, tools.cameras);
    return tools;
  }

  makeHands() {
    /** @type {{[key: string]: () => void}} */
    const keys = {
      " ": () => this.togglePause(),
      m: () => void this.toggleSound(),
      t: () => this.toggleTour(),
      c: () => this.toggleStrip(),
      s: () => this.toggleStats(),
      f: () => void this.toggleFullscreen(),
    };
    return new Hands(byId("view", HTMLElement), {
      onDragStart: () => {
        this.endTour();
        this.turn.handleDragStart(performance.now());
      },
      onDrag: (pixels) => {
        // Pulled to the left, the event turns to the left, and the viewer goes to the right of it.
        const degrees = (-pixels / Math.max(320, this.stage.clientWidth)) * DRAG_DEGREES;
        this.turn.handleDrag(degrees / Math.sqrt(this.zoom.scale), performance.now());
        this.applyTurn();
      },
      onDragEnd: () => {
        this.turn.handleDragEnd(this.rests(), performance.now());
        this.keepTurning();
      },
      onZoom: (factor, point) => this.applyZoom(() => this.zoom.handleZoom(factor, point)),
      onPan: (dx, dy) => this.applyZoom(() => this.zoom.handlePan(dx, dy)),
      onZoomReset: () => this.applyZoom(() => this.zoom.reset()),
      onStep: (direction) => this.step(direction),
      onKey: (key) => {
        keys[key]?.();
        return key in keys;
      },
    });
  }

  listen() {
    new ResizeObserver(() => this.handleResize()).observe(this.stage);
    new ResizeObserver(() => this.handleResize()).observe(this.deck);
    document.addEventListener("fullscreenchange", () => this.handleResize());
    addEventListener("pagehide", () => this.session.leave());
    addEventListener("pageshow", (event) => {
      if (event.persisted) void this.again();
    });
    setInterval(() => this.renewFigures(), STATS_EVERY_MS);
  }

  async start() {
    await this.session.start(await this.chooser.start());
  }

  async again() {
    this.stopped = null;
    await this.session.start(this.session.place);
    if (this.views?.paused) this.togglePause();
  }

  /** The event is known. @param {WatchTicket} ticket @returns {Views} */
  begin({ event, on_air: onAir }) {
    this.manifest = event;
    const title = event.title || event.name;
    document.title = `${title} – Selvedge`;
    byId("title", HTMLElement).textContent = title;
    byId("caption-title", HTMLElement).textContent = title;
    const first = event.cameras.findIndex(({ name }) => onAir.includes(name));
    this.views = new Views(
      {
        manifest: event,
        picture: this.picture,
        onTakenOver: (from, to) => {
          const what = this.session.current?.onAir.has(from) ? "sends no picture" : "went off the air";
          this.showBanner(`${this.cameraTitle(from)} ${what}. You see ${this.cameraTitle(to)} now.`, NOTICE_MS);
        },
        onSwitched: () => this.renewFigures(),
      },
      0,
    );
    const { views } = this;
    this.turn = new Turn(views.seats[Math.max(0, first)]?.bearing ?? 0);
    views.handleGesture(angle(this.turn.at), 1);
    this.ring = new Ring(byId("ring", HTMLElement), event, views.seats, {
      onTurn: (bearing) => {
        this.endTour();
        this.turn.handleGoTo(bearing, performance.now());
        this.keepTurning();
      },
      onTurnEnd: () => {
        this.turn.handleDragStart(performance.now());
        this.turn.handleDragEnd(this.rests(), performance.now());
        this.keepTurning();
      },
      onChoose: (camera) => this.choose(camera),
    });
    this.strip = new Strip(byId("strip", HTMLElement), event, {
      onChoose: (camera) => this.choose(camera),
      mayFetch: () => (this.session.state === "watching" && !views.paused ? this.session.current : null),
      isHistory: (timestamp) => views.isHistory(timestamp),
      onBytes: (bytes) => views.bytes.add(performance.now(), bytes),
    });
    this.ring.setAngle(this.turn.at);
    this.handleResize();
    return views;
  }

  /** Bearings of the cameras that can be seen. */
  rests() {
    const live = this.views?.live() ?? [];
    return (this.views?.seats ?? []).filter(({ camera }) => live.includes(camera)).map(({ bearing }) => bearing);
  }

  /** @param {string} camera */
  choose(camera) {
    this.endTour();
    const seat = this.views?.seats.find((it) => it.camera === camera);
    if (!seat) return;
    this.views?.handleChoice(camera);
    // Chosen by name it is there at once; only the ring turns.
    this.turn.at = seat.bearing;
    this.turn.target = seat.bearing;
    this.applyTurn();
  }

  /** @param {1 | -1} direction */
  step(direction) {
    this.endTour();
    this.turn.handleStep(this.rests(), direction, performance.now());
    this.keepTurning();
  }

  /** Lets time turn what the hand has begun. */
  keepTurning() {
    if (this.turning !== 0) return;
    const tick = () => {
      this.turn.tick(performance.now());
      this.applyTurn();
      this.turning = this.turn.moving ? requestAnimationFrame(tick) : 0;
    };
    this.turning = requestAnimationFrame(tick);
  }

  applyTurn() {
    this.views?.handleGesture(angle(this.turn.at), this.zoom.scale);
    this.ring?.setAngle(this.turn.at);
  }

  /** @param {() => void} change */
  applyZoom(change) {
    change();
    this.picture.setZoom(this.zoom);
    this.stage.dataset.zoomed = String(this.zoom.scale > 1);
    this.applyTurn();
  }

  toggleTour() {
    if (this.tour !== 0) {
      this.endTour();
      return;
    }
    const next = () => {
      this.turn.handleStep(this.rests(), 1, performance.now());
      this.keepTurning();
    };
    next();
    this.tour = setInterval(next, TOUR_STAY_MS);
    this.tools.tour.setAttribute("aria-pressed", "true");
  }

  endTour() {
    clearInterval(this.tour);
    this.tour = 0;
    this.tools.tour.setAttribute("aria-pressed", "false");
  }

  togglePause() {
    const { views } = this;
    if (!views) return;
    if (views.paused) {
      views.resume();
    } else {
      this.endTour();
      views.pause();
      this.sound.silence();
    }
    setTool(this.tools.play, views.paused ? "play" : "pause", views.paused ? "Go on, live (space)" : "Pause (space)");
    this.showSound();
    this.showCameras();
  }

  toggleStrip() {
    this.strip?.toggle();
    this.tools.cameras.setAttribute("aria-pressed", String(this.strip?.open === true));
  }

  toggleStats() {
    this.panel.hidden = !this.panel.hidden;
    this.tools.stats.setAttribute("aria-pressed", String(!this.panel.hidden));
    this.renewFigures();
  }

  async toggleFullscreen() {
    if (document.fullscreenElement) await document.exitFullscreen();
    else await document.documentElement.requestFullscreen?.({ navigationUI: "hide" }).catch(() => undefined);
  }

  async toggleSound() {
    this.soundWanted = !this.soundWanted;
    if (this.soundWanted) {
      try {
        await this.sound.start();
      } catch (error) {
        this.soundWanted = false;
        const why = error instanceof Error && !(error instanceof DOMException) ? error.message : "This browser gave no sound output.";
        this.showBanner(`${why} The button with the loudspeaker tries again.`, NOTICE_MS);
      }
    }
    this.showSound();
  }

  /** Listens to the event's sound, or does not, and says so. */
  showSound() {
    const attachment = this.session.current;
    const camera = this.manifest?.sound ?? "";
    const audio = attachment?.infos.get(camera)?.audio ?? null;
    const on = this.soundWanted && this.sound.running;
    if (on && attachment && audio && !this.views?.paused) this.sound.listen(attachment, camera, audio);
    else this.sound.silence();
    let label = on ? "Sound is on (M)" : "Sound is off (M)";
    if (attachment && !attachment.onAir.has(camera)) label = `No sound: ${this.cameraTitle(camera)}, whose sound it is, is off the air`;
    else if (attachment && attachment.infos.has(camera) && !audio) label = `No sound: ${this.cameraTitle(camera)} sends none`;
    setTool(this.tools.sound, on && audio ? "sound" : "muted", label);
  }

  /** @param {{camera: string, rendition: string, timestamp: number, now: number}} drawn */
  handleDrawn(drawn) {
    if (this.stage.dataset.empty === "true") {
      this.stage.dataset.empty = "false";
      byId("waiting", HTMLElement).hidden = true;
      this.showHint();
    }
    this.views?.handleDrawn(drawn);
    this.sound.handleDrawn(drawn.timestamp, drawn.now);
    this.strip?.handleDrawn(drawn.camera, this.picture.canvas, drawn.now);
    if (drawn.camera !== this.captioned) this.showCameras();
  }

  /** What the caption names. */
  captioned = "";

  showCameras() {
    const { views, session } = this;
    const onAir = new Set(views?.live() ?? []);
    const shown = this.picture.shown?.camera ?? "";
    this.captioned = shown;
    this.ring?.setCameras({ onAir, shown });
    this.strip?.setCameras({ onAir, shown });
    const live = onAir.has(shown) && session.state === "watching" && !views?.paused;
    byId("on-air", HTMLElement).textContent = views?.paused ? "Paused" : live ? "Live" : "Off air";
    byId("on-air", HTMLElement).dataset.live = String(live);
    byId("camera", HTMLElement).textContent = shown ? this.cameraTitle(shown) : "";
    const all = this.manifest?.cameras.length ?? 0;
    byId("caption-more", HTMLElement).textContent = onAir.size === all ? `${all} cameras` : `${onAir.size} of ${all} cameras on air`;
    this.showSound();
  }

  /** @param {string} camera */
  cameraTitle(camera) {
    return this.manifest?.cameras.find(({ name }) => name === camera)?.title || camera;
  }

  /** @param {import("./session.js").State} state @param {string} text */
  showState(state, text) {
    const noPicture = this.stage.dataset.empty === "true";
    const nobody = state === "waiting";
    const words = nobody ? "No camera is on air yet" : text || "Waiting for the first picture…";
    byId("waiting", HTMLElement).hidden = !(nobody || (noPicture && ["asking", "connecting", "watching"].includes(state)));
    byId("spinner", HTMLElement).hidden = nobody;
    byId("waiting-text", HTMLElement).textContent = words;
    byId("waiting-more", HTMLElement).hidden = !nobody;
    byId("waiting-more", HTMLElement).textContent = "The picture appears here by itself when the first one starts.";
    byId("stopped", HTMLElement).hidden = state !== "failed";
    this.deck.hidden = this.manifest === null || state === "failed";
    if (nobody || state === "failed") this.stage.dataset.empty = "true";
    this.stage.dataset.state = state;
    if (state === "waiting" || state === "failed") this.picture.shown = null;
    this.renewFigures();
  }

  /** @param {string | null} text @param {number} [lastsMs] */
  showBanner(text, lastsMs) {
    clearTimeout(this.bannerTimer);
    this.banner.hidden = text === null || text === "";
    this.banner.textContent = text ?? "";
    if (lastsMs) this.bannerTimer = setTimeout(() => this.showBanner(null), lastsMs);
  }

  /** Tells once how to turn. */
  showHint() {
    const hint = byId("hint", HTMLElement);
    clearTimeout(this.hintTimer);
    if ((this.manifest?.cameras.length ?? 0) < 2) return;
    hint.textContent = matchMedia("(pointer: coarse)").matches ? "Drag to walk around. Pinch to zoom." : "Drag, or press ← and →, to walk around. The wheel zooms.";
    hint.hidden = false;
    this.hintTimer = setTimeout(() => (hint.hidden = true), NOTICE_MS);
  }

  /** @param {Words} words */
  showStopped(words) {
    this.stopped = words;
    showStopped(byId("stopped", HTMLElement), words, { label: "Try again", run: () => void this.again() });
  }

  handleResize() {
    const upright = this.stage.clientHeight > this.stage.clientWidth;
    this.stage.dataset.upright = String(upright);
    const bar = byId("bar", HTMLElement).offsetHeight;
    // Upright there is more height than the picture needs, so nothing has to stand on it.
    const room = upright ? this.stage.clientHeight - bar - (this.deck.hidden ? 0 : this.deck.offsetHeight) : this.stage.clientHeight;
    this.picture.room = { top: upright ? bar : 0, height: Math.max(120, room) };
    this.stage.style.setProperty("--middle", `${this.picture.room.top + this.picture.room.height / 2}px`);
    this.picture.fit();
    this.picture.setZoom(this.zoom);
    this.views?.handleWindow(Math.round(this.picture.canvas.clientHeight * devicePixelRatio));
  }

  renewFigures() {
    const { session } = this;
    const chip = byId("chip", HTMLElement);
    const { current, state } = session;
    if (current && ["watching", "waiting", "recovering"].includes(state)) {
      chip.textContent = `${milliseconds(current.roundTripMs)} · ${placeName(current.ticket.entry.site)}`;
      chip.dataset.tone = state === "recovering" || current.roundTripMs > 150 ? "warn" : "good";
    } else {
      chip.textContent = state === "asking" || state === "connecting" ? "connecting" : "not connected";
      chip.dataset.tone = "";
    }
    if (!this.panel.hidden) showStats(this.panel, this.stats());
  }

  /** @returns {import("./overlay.js").Stats} */
  stats() {
    const { picture, views, session, sound } = this;
    const now = performance.now();
    const since = picture.gaps.lastAt === null ? 0 : now - picture.gaps.lastAt;
    const times = (views?.switches ?? []).filter(({ by }) => by === "hand").map(({ ms }) => ms);
    const viewBps = (views?.seen.perSecond(now) ?? 0) * 8;
    const onAir = session.current?.onAir.size ?? 0;
    return {
      frames: picture.gaps.frames,
      fps: picture.frames.perSecond(now),
      camera: picture.shown?.camera ?? "",
      rendition: picture.shown?.rendition ?? "",
      width: picture.canvas.width,
      height: picture.canvas.height,
      angle: angle(this.turn.at),
      zoom: this.zoom.scale,
      switches: [...(views?.switches ?? [])],
      switch_p50_ms: times.length > 0 ? percentile(times, 0.5) : null,
      switch_p95_ms: times.length > 0 ? percentile(times, 0.95) : null,
      max_gap_ms: Math.max(picture.gaps.max, views?.paused ? 0 : since),
      stalls: views?.stalls ?? 0,
      bitrate_bps: (views?.bytes.perSecond(now) ?? 0) * 8,
      view_bps: viewBps,
      all_views_bps: viewBps * onAir,
      cameras_on_air: onAir,
      round_trip_ms: session.current?.roundTripMs ?? 0,
      delay_ms: this.playout.delay === null ? null : this.playout.waits(),
      decode_queue: views?.shownFeed()?.decodeQueue ?? 0,
      transport: session.current?.transport ?? "",
      entry_site: session.current?.ticket.entry.site ?? "",
      sound: this.soundWanted && sound.running && sound.track !== null,
      sound_packets: sound.packets,
      audio_offset_ms: sound.offsets.at(0.5),
      audio_offset_worst_ms: sound.offsets.values.length === 0 ? null : percentile(sound.offsets.values.map(Math.abs), 0.95),
    };
  }
}

/** @param {HTMLElement} button @param {import("../shared/icons.js").IconName} name @param {string} label */
function setTool(button, name, label) {
  if (button.title === label && button.dataset.icon === name) return;
  button.replaceChildren(icon(name));
  button.dataset.icon = name;
  button.title = label;
  button.setAttribute("aria-label", label);
}

applyTheme();
adoptToken();
// Tests of browsers without WebTransport, and people whose network eats UDP.
if (new URLSearchParams(location.search).get("transport") === "websocket") Reflect.deleteProperty(globalThis, "WebTransport");
const watcher = new Watcher(decodeURIComponent(location.pathname.replace(/^\/watch\//, "").replace(/\/$/, "")));
installAutomation(watcher);
const missing = missingFromBrowser();
if (missing) {
  watcher.showState("failed", "");
  watcher.showStopped(missing);
} else {
  void watcher.start();
}
