// The pages of sessions: all of them, and one with its numbers, reasons and log.

import { h } from "../shared/dom.js";
import { bitrate, duration, milliseconds } from "../shared/format.js";
import { follow, setText } from "./list.js";
import { confirmButton, facts, fieldOf, goTo, setOptions } from "./parts.js";

/** @typedef {import("../shared/types.js").Explanation} Explanation */
/** @typedef {import("../shared/types.js").Place} Place */
/** @typedef {import("../shared/types.js").Session} Session */
/** @typedef {import("./cloud.js").Cloud} Cloud */

const STATES = {
  starting: { text: "starting", tone: "warn" },
  active: { text: "active", tone: "good" },
  waiting: { text: "waits for its terminal", tone: "warn" },
  lost: { text: "its node is silent", tone: "bad" },
};

/** Round trips kept for the line: a minute at one a second. */
const TREND_MAX = 60;

/** Lists the sessions. */
export class SessionsPage {
  constructor() {
    this.list = h("ul", { class: "cards" });
    this.none = h("div", { class: "empty" }, h("h2", null, "Nobody uses an app"), h("p", null, "Open one from ", goTo("/apps", "Apps"), " and watch it appear here and on the map."));
    this.element = h("section", { class: "page", "aria-label": "Sessions" }, this.none, this.list);
  }

  /** @param {Cloud} cloud */
  render(cloud) {
    this.none.hidden = cloud.sessions.size > 0;
    follow(
      this.list,
      [...cloud.sessions.values()].sort((a, b) => b.created_unix_ms - a.created_unix_ms),
      ({ id }) => id,
      (session) =>
        h(
          "li",
          { class: "card-item" },
          h("div", { class: "card-head" }, h("h2", null, goTo(`/sessions/${session.id}`, cloud.appTitle(session.app))), h("span", { class: "badge", "data-field": "state" })),
          h("p", { "data-field": "way" }),
          h("p", { class: "hint", "data-field": "figures" }),
        ),
      (element, session) => {
        setBadge(fieldOf(element, "state"), session);
        setText(fieldOf(element, "way"), way(cloud, session));
        setText(fieldOf(element, "figures"), figures(session));
      },
    );
  }
}

/** @param {HTMLElement | null} badge @param {Session} session */
function setBadge(badge, session) {
  const state = STATES[session.state] ?? { text: session.state, tone: "warn" };
  setText(badge, state.text);
  if (badge) badge.dataset.tone = state.tone;
}

/** @param {Cloud} cloud @param {Session} session */
function way(cloud, session) {
  const city = cloud.placeOf(session)?.name ?? "A terminal";
  const host = cloud.siteTitle(session.host_site);
  return session.entry_site === session.host_site ? `${city} → ${host}` : `${city} → ${cloud.siteTitle(session.entry_site)} → ${host}`;
}

/** @param {Session} session */
function figures({ quality, state }) {
  if (state === "waiting") return "no terminal";
  return `${milliseconds(quality.round_trip_ms)}, ${Math.round(quality.frames_per_second)} pictures a second, ${bitrate(quality.kilobits_per_second * 1_000)}`;
}

/**
 * @typedef {object} SessionActions
 * @property {(session: Session, place: Place) => void} moveTerminal
 * @property {(session: Session, site: string) => void} runAt
 * @property {(session: Session) => void} close
 */

/** One session. */
export class SessionPage {
  /** @param {SessionActions} actions */
  constructor(actions) {
    this.actions = actions;
    /** @type {Session | null} */
    this.session = null;
    /** @type {Cloud | null} */
    this.cloud = null;
    this.title = h("h2", null);
    this.state = h("span", { class: "badge" });
    this.way = h("p", null);
    /** @type {number[]} */
    this.trend = [];
    this.line = trendLine();
    this.facts = facts([
      ["round", "Round trip"],
      ["pictures", "Pictures"],
      ["bitrate", "Bitrate"],
      ["encode", "Encoding"],
      ["loss", "Lost"],
      ["age", "Began"],
      ["id", "Session"],
    ]);
    this.city = h("select", { "aria-label": "The terminal is in", onchange: () => this.moveTerminal() });
    this.site = h("select", { "aria-label": "The app runs in", onchange: () => this.armRun() });
    this.run = h("button", { class: "button", type: "button", hidden: true, onclick: () => this.runAt() }, "Restart it there");
    this.decisions = h("ol", { class: "decisions" });
    this.log = h("pre", { class: "log", tabIndex: 0, "aria-label": "Log of the app" });
    this.gone = h("div", { class: "empty" }, h("h2", null, "This session is over"), h("p", null, "Others are under ", goTo("/sessions", "Sessions"), "."));
    this.body = h(
      "div",
      null,
      h("div", { class: "card-head" }, this.title, this.state),
      this.way,
      this.line,
      this.facts,
      h("div", { class: "moves" }, h("label", null, h("span", null, "The terminal is in"), this.city), h("label", null, h("span", null, "The app runs in"), this.site), this.run),
      h("h3", null, "Why there"),
      this.decisions,
      h("h3", null, "Log"),
      this.log,
      confirmButton("Close this session", "The app stops. Really close?", () => this.session && this.actions.close(this.session)),
    );
    this.element = h("section", { class: "page", "aria-label": "Session" }, goTo("/sessions", "All sessions"), this.gone, this.body);
  }

  /** @param {Cloud} cloud @param {string} id */
  render(cloud, id) {
    const session = cloud.sessions.get(id) ?? null;
    if (this.session?.id !== session?.id) this.clear();
    this.session = session;
    this.cloud = cloud;
    this.gone.hidden = session !== null;
    this.body.hidden = session === null;
    if (!session) return;
    setText(this.title, cloud.appTitle(session.app));
    setBadge(this.state, session);
    setText(this.way, way(cloud, session));
    this.renderFacts(session);
    const city = cloud.placeOf(session);
    setOptions(this.city, withUnknown(cloud.places.map(({ name }) => ({ value: name, text: name })), city === null), city?.name ?? "");
    setOptions(this.site, [...cloud.sites.values()].map(({ name, title }) => ({ value: name, text: title })), this.run.hidden ? session.host_site : this.site.value);
    this.city.disabled = cloud.places.length === 0;
  }

  /** @param {Session} session */
  renderFacts(session) {
    const { quality } = session;
    setText(fieldOf(this.facts, "round"), milliseconds(quality.round_trip_ms));
    setText(fieldOf(this.facts, "pictures"), `${quality.frames_per_second.toFixed(0)} a second`);
    setText(fieldOf(this.facts, "bitrate"), `${bitrate(quality.kilobits_per_second * 1_000)} of ${bitrate(quality.target_kilobits_per_second * 1_000)}`);
    setText(fieldOf(this.facts, "encode"), milliseconds(quality.encode_ms));
    setText(fieldOf(this.facts, "loss"), `${(quality.loss * 100).toFixed(1)} %`);
    setText(fieldOf(this.facts, "age"), `${duration((Date.now() - session.created_unix_ms) / 1_000)} ago`);
    const moves = session.epoch === 1 ? "" : `, moved ${session.epoch - 1} ${session.epoch === 2 ? "time" : "times"}`;
    setText(fieldOf(this.facts, "id"), `${session.id}${moves}`);
  }

  /** Called once for every change of this session. @param {Session} session */
  addSample(session) {
    if (session.id !== this.session?.id) return;
    this.trend.push(session.quality.round_trip_ms);
    if (this.trend.length > TREND_MAX) this.trend.shift();
    drawTrend(this.line, this.trend);
  }

  /** @param {Explanation[]} decisions @param {Cloud} cloud */
  showDecisions(decisions, cloud) {
    follow(
      this.decisions,
      decisions,
      (decision) => `${decision.decided_unix_ms} ${decision.cause}`,
      (decision) =>
        h(
          "li",
          null,
          h("p", null, h("strong", null, cloud.siteTitle(decision.site)), `: ${decision.why}`),
          h("p", { class: "hint" }, `${decision.cause}, ${new Date(decision.decided_unix_ms).toLocaleTimeString()}`),
          h("ul", { class: "passed" }, decision.passed.map(({ site, why }) => h("li", null, h("strong", null, cloud.siteTitle(site)), `: ${why}`))),
        ),
      () => undefined,
    );
  }

  /** @param {string[]} lines */
  showLog(lines) {
    const atEnd = this.log.scrollTop + this.log.clientHeight >= this.log.scrollHeight - 4;
    setText(this.log, lines.length === 0 ? "The app has printed nothing." : lines.join("\n"));
    if (atEnd) this.log.scrollTop = this.log.scrollHeight;
  }

  clear() {
    this.trend = [];
    drawTrend(this.line, this.trend);
    this.decisions.replaceChildren();
    setText(this.log, "");
    this.run.hidden = true;
  }

  moveTerminal() {
    const place = this.cloud?.places.find(({ name }) => name === this.city.value);
    if (place && this.session) this.actions.moveTerminal(this.session, place);
  }

  armRun() {
    this.run.hidden = this.site.value === this.session?.host_site;
  }

  runAt() {
    this.run.hidden = true;
    if (this.session) this.actions.runAt(this.session, this.site.value);
  }
}

/** @param {{value: string, text: string}[]} options @param {boolean} unknown */
function withUnknown(options, unknown) {
  return unknown ? [{ value: "", text: "unknown" }, ...options] : options;
}

const SVG = "http://www.w3.org/2000/svg";
const TREND_WIDTH = 300;
const TREND_HEIGHT = 44;

/** @returns {SVGSVGElement} */
function trendLine() {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("viewBox", `0 0 ${TREND_WIDTH} ${TREND_HEIGHT}`);
  svg.setAttribute("class", "trend");
  svg.setAttribute("preserveAspectRatio", "none");
  svg.setAttribute("role", "img");
  svg.append(document.createElementNS(SVG, "polyline"));
  return svg;
}

/** @param {SVGSVGElement} svg @param {number[]} values */
function drawTrend(svg, values) {
  const top = Math.max(20, ...values) * 1.15;
  const points = values.map((value, i) => {
    const x = TREND_WIDTH - (values.length - 1 - i) * (TREND_WIDTH / (TREND_MAX - 1));
    return `${x.toFixed(1)},${(TREND_HEIGHT - (value / top) * TREND_HEIGHT).toFixed(1)}`;
  });
  svg.firstElementChild?.setAttribute("points", points.join(" "));
  svg.setAttribute("aria-label", `Round trip of the last minute, up to ${milliseconds(Math.max(0, ...values))}`);
}
