// The player's page: puts the session, the screen and the hand together, and says what happens.

import { PlaceChooser } from "../shared/chooser.js";
import { byId, h } from "../shared/dom.js";
import { milliseconds, placeName } from "../shared/format.js";
import { icon } from "../shared/icons.js";
import { applyTheme } from "../shared/theme.js";
import { adoptToken } from "../shared/token.js";
import { missingFromBrowser, showStopped } from "../shared/words.js";
import { installAutomation } from "./automation.js";
import { Speaker } from "./audio.js";
import { Input } from "./input.js";
import { showStats } from "./overlay.js";
import { showKeys } from "./keys.js";
import { showPad } from "./pad.js";
import { Screen } from "./screen.js";
import { PlayerSession } from "./session.js";

/** @typedef {import("../shared/types.js").Offer} Offer */
/** @typedef {import("./protocol.js").Hello} Hello */
/** @typedef {import("../shared/words.js").Words} Words */

/** The largest and smallest window an app is asked to fill, in its pixels. */
const WINDOW_MAX = { width: 1_920, height: 1_200 };
const WINDOW_MIN = { width: 320, height: 240 };
/** A window that is being dragged is let come to rest this long, in milliseconds. */
const RESIZE_REST_MS = 250;
/** How often what is shown of the measurements is renewed, in milliseconds. */
const STATS_EVERY_MS = 500;
/** How long a short hint stays, in milliseconds. */
const HINT_MS = 4_000;
const MUTED_KEY = "selvedge.muted";

/** The page. */
export class Player {
  /** @param {string} app */
  constructor(app) {
    this.app = app;
    this.stage = byId("stage", HTMLElement);
    this.banner = byId("banner", HTMLElement);
    this.panel = byId("stats", HTMLElement);
    this.screen = new Screen(byId("screen", HTMLCanvasElement));
    this.speaker = new Speaker();
    this.chooser = new PlaceChooser({
      onChosen: async (place) => {
        this.input.focus();
        await this.session.moveTo(place);
      },
      onFailure: (text) => this.showBanner(text, HINT_MS),
    });
    /** @type {Hello | null} */
    this.hello = null;
    /** @type {Offer | null} */
    this.offer = null;
    /** The offer that was declined, and where. */
    this.declined = "";
    /** @type {Words | null} */
    this.stopped = null;
    this.muted = readMuted();
    this.bannerTimer = 0;
    this.hintTimer = 0;
    this.toastTimer = 0;
    this.resizeTimer = 0;
    /** Whether Escape is the app's too, so that only holding it leaves fullscreen. */
    this.keyboardLocked = false;
    this.session = new PlayerSession({
      app,
      screen: this.screen,
      speaker: this.speaker,
      windowSize: () => this.windowSize(),
      face: {
        onState: (state, text) => this.showState(state, text),
        onBanner: (text, lastsMs) => this.showBanner(text, lastsMs),
        onOffer: (offer) => this.showOffer(offer),
        onHello: (hello) => this.greet(hello),
        onClipboard: (text) => void this.takeClipboard(text),
        onStopped: (words) => this.showStopped(words),
        onShown: () => this.input.holdAgain(),
      },
    });
    this.input = new Input({
      screen: this.screen,
      field: byId("field", HTMLTextAreaElement),
      send: (events) => this.session.sendEvents(events),
      onShortcut: (code) => this.shortcut(code),
      onPointerLock: () => this.showHint(),
      onGesture: () => void this.wakeSound(),
    });
    this.tools = this.makeTools();
    showKeys(byId("keys", HTMLElement), this.input, (up) => this.tools.keyboard.setAttribute("aria-pressed", String(up)));
    this.listen();
  }

  makeTools() {
    /** @param {import("../shared/icons.js").IconName} name @param {string} label @param {() => void} act @param {string} [extra] */
    const tool = (name, label, act, extra = "") =>
      h("button", { class: `button plain icon-only ${extra}`, type: "button", title: label, "aria-label": label, onclick: act }, icon(name));
    const escape = h("button", { class: "button plain touch-only", type: "button", onclick: () => this.input.tap("Escape") }, "Esc");
    const tools = {
      keyboard: tool("keyboard", "Keyboard", () => this.input.toggleKeyboard(), "touch-only"),
      sound: tool("sound", "Sound", () => void this.toggleSound()),
      stats: tool("stats", "Measurements (Ctrl+Alt+S)", () => this.toggleStats()),
      fullscreen: tool("fullscreen", "Fullscreen", () => void this.toggleFullscreen()),
      close: tool("close", "Close the app", () => this.askToClose()),
    };
    // A tap on this button must not take the focus from the field, or the keyboard goes down before it comes up.
    tools.keyboard.addEventListener("pointerdown", (event) => event.preventDefault());
    byId("tools", HTMLElement).append(tools.keyboard, escape, tools.sound, tools.stats, tools.fullscreen, tools.close);
    return tools;
  }

  listen() {
    new ResizeObserver(() => this.handleResize()).observe(this.stage);
    document.addEventListener("fullscreenchange", () => void this.handleFullscreen());
    addEventListener("pagehide", () => this.session.leave());
    addEventListener("pageshow", (event) => {
      if (event.persisted) void this.session.start(this.session.place);
    });
    setInterval(() => this.renewFigures(), STATS_EVERY_MS);
  }

  async start() {
    await this.session.start(await this.chooser.start());
  }

  /** @param {import("./session.js").State} state @param {string} text */
  showState(state, text) {
    const waiting = state === "asking" || state === "connecting";
    byId("waiting", HTMLElement).hidden = !waiting;
    byId("waiting-text", HTMLElement).textContent = text;
    byId("stopped", HTMLElement).hidden = state !== "ended" && state !== "failed";
    if (state === "playing") this.stage.dataset.empty = "false";
    if (waiting || state === "ended" || state === "failed") this.stage.dataset.empty = "true";
    this.input.setEnabled(state === "playing" || state === "recovering");
    if (state === "playing" && !this.isElsewhere()) this.input.focus();
    this.renewFigures();
  }

  /** Whether the person is at the page's own tools. */
  isElsewhere() {
    return document.activeElement?.closest(".bar, .card, .toast") != null;
  }

  /** @param {string | null} text @param {number} [lastsMs] */
  showBanner(text, lastsMs) {
    clearTimeout(this.bannerTimer);
    this.banner.hidden = text === null || text === "";
    this.banner.textContent = sentence(text ?? "");
    if (lastsMs) this.bannerTimer = setTimeout(() => this.showBanner(null), lastsMs);
  }

  /** @param {Offer | null} offer */
  showOffer(offer) {
    // Who has said "stay" is not asked the same again.
    if (offer && this.declined === `${offer.site} ${this.session.place?.name}`) return;
    this.offer = offer;
    const card = byId("offer", HTMLElement);
    card.hidden = offer === null;
    if (!offer) return;
    const site = placeName(offer.site);
    card.replaceChildren(
      h("p", null, h("strong", null, `${milliseconds(offer.here_ms)} here, ${milliseconds(offer.there_ms)} in ${site}`)),
      h("p", { class: "hint" }, `The app starts anew there: what it holds now is lost.`),
      h(
        "div",
        { class: "actions" },
        h("button", { class: "button primary", type: "button", onclick: () => void this.session.acceptOffer(offer) }, `Move to ${site}`),
        h("button", { class: "button", type: "button", onclick: () => this.decline(offer) }, "Stay"),
      ),
    );
  }

  /** @param {Offer} offer */
  decline(offer) {
    this.declined = `${offer.site} ${this.session.place?.name}`;
    this.showOffer(null);
    this.input.focus();
  }

  /** @param {Hello} hello */
  greet(hello) {
    this.hello = hello;
    this.input.wantsLock = hello.relativePointer;
    this.screen.app = { width: hello.width, height: hello.height };
    document.title = `${hello.title} – Selvedge`;
    byId("title", HTMLElement).textContent = hello.title;
    this.showSound();
    this.showHint();
    showPad(byId("pad", HTMLElement), hello.gamepad, (button, down) => this.input.discrete({ t: "gamepad", button, down }));
    this.handleResize();
    // A second app in the same page may make sound at once: the person has touched the page already.
    if (navigator.userActivation?.hasBeenActive) void this.wakeSound();
  }

  /** @param {Words} words */
  showStopped(words) {
    this.stopped = words;
    showStopped(byId("stopped", HTMLElement), words, { label: "Start again", run: () => void this.again() });
  }

  async again() {
    this.stopped = null;
    await this.session.start(this.session.place);
  }

  askToClose() {
    const card = byId("offer", HTMLElement);
    const keep = h("button", { class: "button", type: "button", onclick: () => this.showOffer(this.offer) }, "Keep it");
    card.replaceChildren(
      h("p", null, h("strong", null, "Close the app?")),
      h("p", { class: "hint" }, "It is stopped, and what it holds is lost. To come back to it within a minute, close only this page."),
      h("div", { class: "actions" }, h("button", { class: "button danger", type: "button", onclick: () => void this.session.end() }, "Close the app"), keep),
    );
    card.hidden = false;
    keep.focus();
  }

  /** @param {string} code */
  shortcut(code) {
    if (code === "KeyS") this.toggleStats();
    else if (code === "KeyF") void this.toggleFullscreen();
    else if (code === "KeyM") this.showTools();
    else return false;
    return true;
  }

  /** Leads from the picture to the page's own buttons, for who has no hand on a mouse or has given it away. */
  showTools() {
    document.exitPointerLock();
    this.tools.stats.focus();
  }

  toggleStats() {
    this.panel.hidden = !this.panel.hidden;
    this.tools.stats.setAttribute("aria-pressed", String(!this.panel.hidden));
    this.renewFigures();
  }

  async toggleFullscreen() {
    if (document.fullscreenElement) await document.exitFullscreen();
    else await this.stage.requestFullscreen?.({ navigationUI: "hide" }).catch(() => undefined);
    this.input.focus();
  }

  async handleFullscreen() {
    this.keyboardLocked = false;
    if (document.fullscreenElement) this.keyboardLocked = await lockKeyboard();
    else navigator.keyboard?.unlock();
    this.showHint();
  }

  /** Tells once how the pointer is caught and freed. */
  showHint() {
    const hint = byId("hint", HTMLElement);
    clearTimeout(this.hintTimer);
    const text = this.hintText();
    hint.hidden = text === "";
    hint.textContent = text;
    // How to begin is worth more time than how to end.
    const begins = this.hello?.relativePointer && !this.input.locked && !isTouch();
    if (text !== "") this.hintTimer = setTimeout(() => (hint.hidden = true), begins ? HINT_MS * 3 : HINT_MS);
  }

  /** @returns {string} */
  hintText() {
    const fullscreen = document.fullscreenElement !== null;
    if (this.hello?.relativePointer) {
      if (isTouch()) return "Drag to turn, tap to click.";
      if (!this.input.locked) return "Click the picture to give it the mouse. Esc gives the mouse back.";
      return fullscreen && this.keyboardLocked ? "Hold Esc to get the mouse back." : "Press Esc to get the mouse back.";
    }
    if (fullscreen) return this.keyboardLocked ? "Hold Esc to leave fullscreen." : "Press Esc to leave fullscreen.";
    return "";
  }

  async wakeSound() {
    if (this.muted || !this.hello?.sound.available || this.session.soundOn) return;
    this.session.setSound(true);
    try {
      await this.speaker.start();
    } catch {
      this.session.setSound(false);
      this.showBanner("This browser gave no sound output. The button with the loudspeaker tries again.", HINT_MS);
    }
    this.showSound();
  }

  async toggleSound() {
    const off = !this.muted && this.session.soundOn;
    this.muted = off;
    writeMuted(off);
    this.speaker.setMuted(off);
    if (off) this.session.setSound(false);
    else await this.wakeSound();
    this.showSound();
    this.input.focus();
  }

  showSound() {
    const sound = this.hello?.sound;
    const { sound: button } = this.tools;
    const on = sound?.available === true && !this.muted && this.session.soundOn;
    let label = on ? "Sound is on" : "Sound is off; it starts with the first click or key";
    if (this.muted) label = "Sound is off";
    if (sound && !sound.available) label = `No sound: ${sound.why || "this app makes none"}`;
    button.replaceChildren(icon(on ? "sound" : "muted"));
    button.title = label;
    button.setAttribute("aria-label", label);
    button.setAttribute("aria-disabled", String(sound?.available === false));
  }

  /** The app copied something. @param {string} text */
  async takeClipboard(text) {
    try {
      await navigator.clipboard.writeText(text);
    } catch {
      // Browsers want a touch for it, or the page in front.
      this.offerCopy(text);
    }
  }

  /** @param {string} text */
  offerCopy(text) {
    const toast = byId("toast", HTMLElement);
    const copy = async () => {
      await navigator.clipboard?.writeText(text).catch(() => undefined);
      toast.hidden = true;
      this.input.focus();
    };
    const excerpt = text.length > 40 ? `${text.slice(0, 40)}…` : text;
    toast.replaceChildren(h("span", null, `The app copied “${excerpt}”`), h("button", { class: "button", type: "button", onclick: () => void copy() }, "Copy"));
    toast.hidden = false;
    clearTimeout(this.toastTimer);
    this.toastTimer = setTimeout(() => (toast.hidden = true), HINT_MS * 2);
  }

  handleResize() {
    this.screen.fit();
    clearTimeout(this.resizeTimer);
    if (!this.hello?.resizable) return;
    this.resizeTimer = setTimeout(() => {
      const size = this.windowSize();
      const { app } = this.screen;
      if (size.width !== app.width || size.height !== app.height) this.input.discrete({ t: "resize", ...size });
    }, RESIZE_REST_MS);
  }

  /** The window in the app's pixels: even, because video is, and within bounds. */
  windowSize() {
    /** @param {number} points @param {number} min @param {number} max */
    const pixels = (points, min, max) => Math.min(max, Math.max(min, Math.round(points * devicePixelRatio))) & ~1;
    return {
      width: pixels(this.stage.clientWidth, WINDOW_MIN.width, WINDOW_MAX.width),
      height: pixels(this.stage.clientHeight, WINDOW_MIN.height, WINDOW_MAX.height),
    };
  }

  renewFigures() {
    const { current, state } = this.session;
    const chip = byId("chip", HTMLElement);
    if (current && (state === "playing" || state === "recovering")) {
      const site = placeName(current.ticket.host_site);
      const via = current.ticket.entry.site === current.ticket.host_site ? "" : ` via ${placeName(current.ticket.entry.site)}`;
      // What changes comes first: on a narrow screen the end is cut.
      chip.textContent = `${milliseconds(current.roundTripMs)} · ${site}${via}`;
      chip.title = chip.textContent;
      chip.dataset.tone = state === "recovering" || current.roundTripMs > 150 ? "warn" : "good";
    } else {
      chip.textContent = state === "asking" || state === "connecting" ? "connecting" : "not connected";
      chip.dataset.tone = "";
    }
    if (!this.panel.hidden) showStats(this.panel, this.stats());
  }

  /** @returns {import("./overlay.js").Stats} */
  stats() {
    const { current } = this.session;
    const { screen, speaker } = this;
    const now = performance.now();
    const since = screen.gaps.lastAt === null ? null : now - screen.gaps.lastAt;
    return {
      frames: screen.gaps.frames,
      fps: screen.frames.perSecond(now),
      bitrate_bps: this.session.bytes.perSecond(now) * 8,
      round_trip_ms: current && current.answered ? current.roundTripMs : null,
      max_gap_ms: Math.max(screen.gaps.max, since ?? 0),
      since_frame_ms: since,
      last_latency: screen.latency.last,
      last_input_seq: screen.lastInputSeq,
      input_p50_ms: screen.latency.samples.at(0.5),
      input_p95_ms: screen.latency.samples.at(0.95),
      decode_ms: current ? current.video.decodeMs.at(0.5) : null,
      encode_ms: screen.shown ? screen.shown.encodeMicros / 1_000 : null,
      decode_queue: current ? current.video.decodeQueue : 0,
      dropped: current ? current.video.dropped : 0,
      width: screen.canvas.width,
      height: screen.canvas.height,
      transport: current ? current.connection.transport : "",
      host_site: current ? current.ticket.host_site : "",
      entry_site: current ? current.ticket.entry.site : "",
      sound: {
        available: this.hello?.sound.available === true,
        on: this.session.soundOn && speaker.running,
        packets: speaker.packets,
        buffered_ms: speaker.state.filled / 48,
        underruns: speaker.state.underruns,
        why: this.hello?.sound.why ?? "",
      },
    };
  }
}

/** What the cloud gives as a reason may be a part of a sentence. @param {string} text */
function sentence(text) {
  return text.charAt(0).toUpperCase() + text.slice(1);
}

function isTouch() {
  return matchMedia("(pointer: coarse)").matches;
}

/** Gives the app all keys, where the browser can; Escape then leaves only when it is held. */
async function lockKeyboard() {
  try {
    await navigator.keyboard?.lock();
    return navigator.keyboard !== undefined;
  } catch {
    return false;
  }
}

function readMuted() {
  try {
    return localStorage.getItem(MUTED_KEY) === "yes";
  } catch {
    return false;
  }
}

/** @param {boolean} muted */
function writeMuted(muted) {
  try {
    localStorage.setItem(MUTED_KEY, muted ? "yes" : "no");
  } catch {
    // Not kept; it holds for this page.
  }
}

applyTheme();
adoptToken();
// Tests of browsers without WebTransport, and people whose network eats UDP.
if (new URLSearchParams(location.search).get("transport") === "websocket") Reflect.deleteProperty(globalThis, "WebTransport");
const app = decodeURIComponent(location.pathname.replace(/^\/play\//, "").replace(/\/$/, ""));
const player = new Player(app);
installAutomation(player);
const missing = missingFromBrowser();
if (missing) {
  player.showState("failed", "");
  player.showStopped(missing);
} else {
  void player.start();
}
