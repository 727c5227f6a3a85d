// The console: a map and pages, all of it live.

import { ApiError, isRecord, request } from "../shared/api.js";
import { byId, h } from "../shared/dom.js";
import { milliseconds } from "../shared/format.js";
import { icon } from "../shared/icons.js";
import { choosePlace, chosenPlace, onPlaceChosenElsewhere, startingPlace, terminalAt } from "../shared/place.js";
import { applyTheme, switchTheme } from "../shared/theme.js";
import { adoptToken, operatorToken, setToken } from "../shared/token.js";
import { AppsPage } from "./apps.js";
import { Cloud } from "./cloud.js";
import { setText } from "./list.js";
import { WorldMap } from "./map.js";
import { setOptions } from "./parts.js";
import { SessionPage, SessionsPage } from "./sessions.js";
import { SitePage, SitesPage } from "./sites.js";
import { EventStream } from "./stream.js";

/** @typedef {import("../shared/types.js").Place} Place */
/** @typedef {import("../shared/types.js").Session} Session */

/** How long a notice stays, in milliseconds. */
const NOTICE_MS = 6_000;
/** How often it is asked how live events are, in milliseconds. */
const EVENTS_EVERY_MS = 2_000;
/** How often the open session's log is read, in milliseconds. */
const LOG_EVERY_MS = 2_500;

class Console {
  constructor() {
    this.cloud = new Cloud();
    /** @type {Place | null} */
    this.me = null;
    this.route = readRoute();
    this.drawAsked = false;
    this.noticeTimer = 0;
    /** The epoch whose reasons are shown. */
    this.explained = "";
    this.map = new WorldMap(byId("map", HTMLElement), {
      onOpen: (path) => this.open(path),
      onMoveMe: (place) => this.moveMe(place),
      onMoveSession: (session, place) => void this.moveTerminal(session, place),
    });
    this.pages = {
      apps: new AppsPage({ removeApp: (app) => void this.act("DELETE", `/v1/apps/${app.name}`, undefined, `${app.name} is removed.`) }),
      sites: new SitesPage(),
      site: new SitePage(),
      sessions: new SessionsPage(),
      session: new SessionPage({
        moveTerminal: (session, place) => void this.moveTerminal(session, place),
        runAt: (session, site) => void this.act("POST", `/v1/sessions/${session.id}/move`, { site, mode: "restart" }, `The app restarts in ${this.cloud.siteTitle(site)}.`),
        close: (session) => void this.act("DELETE", `/v1/sessions/${session.id}`, undefined, "The session is closed."),
      }),
    };
    byId("panel", HTMLElement).append(...Object.values(this.pages).map(({ element }) => element));
    this.stream = new EventStream(
      (kind, data) => this.handleEvent(kind, data),
      (state, message) => this.showStream(state, message),
    );
    this.listen();
  }

  listen() {
    addEventListener("hashchange", () => {
      // A link with a token may be pasted into an open console.
      if (location.hash.startsWith("#token=")) {
        adoptToken();
        this.stream.start();
      }
      this.route = readRoute();
      this.draw();
    });
    byId("me", HTMLSelectElement).addEventListener("change", (event) => {
      const name = /** @type {HTMLSelectElement} */ (event.target).value;
      const place = this.cloud.places.find((it) => it.name === name);
      if (place) this.moveMe(place);
    });
    onPlaceChosenElsewhere((place) => {
      this.me = place;
      this.draw();
    });
    const theme = byId("theme", HTMLButtonElement);
    theme.append(icon("theme"));
    theme.addEventListener("click", switchTheme);
    byId("token-form", HTMLFormElement).addEventListener("submit", (event) => {
      event.preventDefault();
      setToken(byId("token", HTMLInputElement).value.trim());
      this.stream.start();
    });
    setInterval(() => void this.readLog(), LOG_EVERY_MS);
    setInterval(() => void this.readEvents(), EVENTS_EVERY_MS);
    this.stream.start();
    this.draw();
  }

  /** @param {string} kind @param {unknown} data */
  handleEvent(kind, data) {
    this.cloud.apply(kind, data);
    if (kind === "session") this.pages.session.addSample(/** @type {Session} */ (data));
    if (kind === "snapshot") void this.readEvents();
    if (kind === "snapshot") this.me = startingPlace(this.cloud.places, this.me ?? chosenPlace(), Intl.DateTimeFormat().resolvedOptions().timeZone);
    if (this.drawAsked) return;
    this.drawAsked = true;
    requestAnimationFrame(() => {
      this.drawAsked = false;
      this.draw();
    });
  }

  draw() {
    const { cloud, route } = this;
    const page = this.page();
    for (const [name, { element }] of Object.entries(this.pages)) element.hidden = name !== page || !cloud.known;
    for (const link of document.querySelectorAll("nav a")) {
      if (link.getAttribute("href") === `#/${route.section}`) link.setAttribute("aria-current", "page");
      else link.removeAttribute("aria-current");
    }
    this.map.render(cloud, this.me, page === "session" ? route.id : "");
    this.drawHead();
    if (!cloud.known) return;
    if (page === "apps") this.pages.apps.render(cloud);
    if (page === "sites") this.pages.sites.render(cloud);
    if (page === "site") this.pages.site.render(cloud, route.id);
    if (page === "sessions") this.pages.sessions.render(cloud);
    if (page === "session") {
      this.pages.session.render(cloud, route.id);
      void this.explain();
    }
  }

  drawHead() {
    const { cloud } = this;
    setText(byId("count-apps", HTMLElement), String(cloud.apps.size));
    setText(byId("count-sites", HTMLElement), String(cloud.sites.size));
    setText(byId("count-sessions", HTMLElement), String(cloud.sessions.size));
    byId("here", HTMLElement).hidden = cloud.places.length === 0;
    setOptions(byId("me", HTMLSelectElement), cloud.places.map(({ name }) => ({ value: name, text: name })), this.me?.name ?? "");
  }

  /** @returns {keyof Console["pages"]} */
  page() {
    const { section, id } = this.route;
    if (section === "sites") return id ? "site" : "sites";
    if (section === "sessions") return id ? "session" : "sessions";
    return "apps";
  }

  /** @param {string} path */
  open(path) {
    if (path === "/here") byId("me", HTMLSelectElement).focus();
    else location.hash = path;
  }

  /** Open players of this browser hear of it and move by themselves, with round trips they measure. @param {Place} place */
  moveMe(place) {
    this.me = place;
    choosePlace(place);
    this.notify(`You are in ${place.name} now. Open apps follow.`);
    this.draw();
  }

  /** @param {Session} session @param {Place} place */
  async moveTerminal(session, place) {
    const title = this.cloud.appTitle(session.app);
    this.notify(`Moving the terminal of ${title} to ${place.name}…`);
    try {
      const answer = await request("POST", `/v1/sessions/${session.id}/move`, { body: { terminal: terminalAt(place) }, token: operatorToken() });
      this.notify(movedWords(answer, this.cloud) || `The terminal of ${title} is in ${place.name} now.`);
    } catch (error) {
      this.notify(errorWords(error));
    }
  }

  /** @param {string} method @param {string} path @param {unknown} body @param {string} done */
  async act(method, path, body, done) {
    try {
      await request(method, path, { body, token: operatorToken() });
      this.notify(done);
    } catch (error) {
      this.notify(errorWords(error));
    }
  }

  /** Reads why the open session is where it is, once per place. */
  async explain() {
    const { session } = this.pages.session;
    const subject = session ? `${session.id} ${session.epoch} ${session.entry_site}` : "";
    if (!session || subject === this.explained) return;
    this.explained = subject;
    const answer = await request("GET", `/v1/sessions/${session.id}/explain`, { token: operatorToken() }).catch(() => null);
    if (isRecord(answer) && Array.isArray(answer.decisions) && this.explained === subject) this.pages.session.showDecisions(answer.decisions, this.cloud);
    void this.readLog();
  }

  /** Cameras come and go without an event of the stream. */
  async readEvents() {
    if (!this.cloud.hasEvents || document.hidden || this.page() !== "apps") return;
    const answer = await request("GET", "/v1/live", { token: operatorToken() }).catch(() => null);
    if (!isRecord(answer) || !Array.isArray(answer.items)) return;
    this.cloud.handleEvents(answer.items);
    this.draw();
  }

  async readLog() {
    const { session } = this.pages.session;
    if (!session || this.page() !== "session" || document.hidden) return;
    const answer = await request("GET", `/v1/sessions/${session.id}/logs`, { token: operatorToken() }).catch(() => null);
    if (isRecord(answer) && Array.isArray(answer.lines) && this.pages.session.session?.id === session.id) this.pages.session.showLog(answer.lines.map(String));
  }

  /** @param {import("./stream.js").StreamState} state @param {string} message */
  showStream(state, message) {
    const words = { connecting: "connecting", live: "live", away: "the center is away, trying again", refused: "a token is needed" };
    const chip = byId("live", HTMLElement);
    setText(chip, words[state]);
    chip.dataset.tone = state === "live" ? "good" : state === "refused" ? "bad" : "warn";
    document.body.classList.toggle("stale", state === "away");
    byId("refused", HTMLElement).hidden = state !== "refused";
    setText(byId("refused-why", HTMLElement), message);
    byId("waiting", HTMLElement).hidden = state === "refused" || this.cloud.known;
    this.draw();
  }

  /** @param {string} text */
  notify(text) {
    const notice = byId("notice", HTMLElement);
    clearTimeout(this.noticeTimer);
    notice.textContent = text;
    notice.hidden = false;
    this.noticeTimer = setTimeout(() => (notice.hidden = true), NOTICE_MS);
  }
}

/** @param {unknown} answer @param {Cloud} cloud */
function movedWords(answer, cloud) {
  if (!isRecord(answer)) return "";
  const why = typeof answer.why === "string" ? answer.why : "";
  const { offer } = answer;
  if (!isRecord(offer) || typeof offer.site !== "string") return why;
  return `${why} ${milliseconds(Number(offer.here_ms))} here, ${milliseconds(Number(offer.there_ms))} in ${cloud.siteTitle(offer.site)}; the app would restart there.`;
}

/** @param {unknown} error */
function errorWords(error) {
  if (error instanceof ApiError) return error.hint ? `${error.message} ${error.hint}` : error.message;
  return error instanceof Error ? error.message : "It did not work.";
}

function readRoute() {
  const [, section = "apps", id = ""] = location.hash.replace(/^#/, "").split("/");
  return { section: section || "apps", id: decodeURIComponent(id) };
}

applyTheme();
adoptToken();
const cloudConsole = new Console();
// Tests and curious people read the same state that the page draws.
Reflect.set(window, "selvedgeConsole", { cloud: cloudConsole.cloud, me: () => cloudConsole.me, move: (/** @type {Place} */ place) => cloudConsole.moveMe(place) });
byId("brand", HTMLElement).prepend(h("span", { class: "mark" }));
