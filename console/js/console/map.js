// The map: land, sites, links, and sessions as arcs from the city of the terminal to the site that runs the app.
//
// A terminal's marker can be dragged to another city; the keyboard's way to the same is the session's page.

import world from "../../vendor/world.js";
import { h } from "../shared/dom.js";
import { heldSessions } from "../shared/sessions.js";
import { follow, setText } from "./list.js";
import { arc, frame, nearest, outline, project } from "./projection.js";
import { View } from "./view.js";

/** @typedef {import("./cloud.js").Cloud} Cloud */
/** @typedef {import("./projection.js").Point} Point */
/** @typedef {import("../shared/types.js").Place} Place */
/** @typedef {import("../shared/types.js").Session} Session */
/** @typedef {import("../shared/types.js").Site} Site */

const SVG = "http://www.w3.org/2000/svg";
/** Radius of a site, and of the ring that shows its load, in pixels. */
const SITE_RADIUS = 6;
const RING_RADIUS = 10;
/** A pointer that moved less than this clicked, in pixels. */
const CLICK_PIXELS = 5;
/** Cities have their names from so near on: farther, they would lie over each other. */
const NAMES_FROM_ZOOM = 2.4;
/** How much nearer one press of the button goes, and one pixel of a wheel. */
const ZOOM_STEP = 1.6;
const ZOOM_PER_PIXEL = 1.0015;
/** Terminals in one city stand side by side at this distance, in pixels. */
const STACK_PIXELS = 18;

/**
 * @typedef {object} MapActions
 * @property {(path: string) => void} onOpen  Goes to a page of the console.
 * @property {(session: Session, place: Place) => void} onMoveSession
 * @property {(place: Place) => void} onMoveMe
 */

/** Draws the cloud. */
export class WorldMap {
  /** @param {Element} parent @param {MapActions} actions */
  constructor(parent, actions) {
    this.actions = actions;
    /** @type {Place[]} */
    this.places = [];
    /** @type {Cloud | null} */
    this.cloud = null;
    /** @type {Place | null} */
    this.me = null;
    this.selected = "";
    /** @type {{marker: SVGElement, start: Point, at: Point, place: Place | null, drop: (place: Place) => void, open: () => void, moved: boolean} | null} */
    this.drag = null;
    /** Map units per pixel: markers keep their size whatever part of the map is shown. */
    this.scale = 1;
    this.framed = "";
    this.view = new View();
    /** Where the hand holds the map. @type {Point | null} */
    this.held = null;
    this.parent = parent;
    this.svg = make("svg", { class: "world", role: "group", "aria-label": "Map of sites and sessions" });
    this.svg.append(make("path", { class: "land", d: outline(world) }));
    this.layers = {
      links: this.layer("links"),
      places: this.layer("places"),
      arcs: this.layer("arcs"),
      sites: this.layer("sites"),
      terminals: this.layer("terminals"),
    };
    this.target = make("g", { class: "target", visibility: "hidden" });
    this.target.append(make("circle", { r: 9 }), make("text", { y: -14 }));
    this.svg.append(this.target);
    parent.append(this.svg, this.makeTools());
    new ResizeObserver(() => {
      if (this.cloud) this.render(this.cloud, this.me, this.selected);
    }).observe(parent);
    this.svg.addEventListener("pointermove", (event) => this.handleMove(event));
    this.svg.addEventListener("pointerup", (event) => this.handleUp(event));
    this.svg.addEventListener("pointercancel", () => this.endDrag());
    this.svg.addEventListener("pointerdown", (event) => this.handleHold(event));
    this.svg.addEventListener("wheel", (event) => this.handleWheel(event), { passive: false });
  }

  makeTools() {
    /** @param {string} label @param {string} text @param {() => void} act */
    const tool = (label, text, act) => h("button", { class: "button icon-only", type: "button", title: label, "aria-label": label, onclick: act }, text);
    const middle = () => ({ x: this.view.box.x + this.view.box.width / 2, y: this.view.box.y + this.view.box.height / 2 });
    return h(
      "div",
      { class: "map-tools", role: "group", "aria-label": "Map" },
      tool("Nearer", "+", () => this.zoom(middle(), ZOOM_STEP)),
      tool("Farther", "−", () => this.zoom(middle(), 1 / ZOOM_STEP)),
    );
  }

  /** @param {Point} point @param {number} factor */
  zoom(point, factor) {
    this.view.handleZoom(point, factor);
    this.look();
  }

  /** Shows what the view says. */
  look() {
    const { x, y, width, height } = this.view.box;
    this.scale = width / Math.max(1, this.parent.clientWidth);
    this.svg.setAttribute("viewBox", `${x.toFixed(2)} ${y.toFixed(2)} ${width.toFixed(2)} ${height.toFixed(2)}`);
    this.svg.classList.toggle("zoomed", this.view.zoomed);
    this.svg.classList.toggle("near", width < this.view.base.width / NAMES_FROM_ZOOM);
    if (this.cloud) this.draw(this.cloud, this.selected);
  }

  /** @param {WheelEvent} event */
  handleWheel(event) {
    event.preventDefault();
    const pixels = event.deltaMode === WheelEvent.DOM_DELTA_PIXEL ? event.deltaY : event.deltaY * 40;
    this.zoom(this.pointAt(event), ZOOM_PER_PIXEL ** -pixels);
  }

  /** The hand takes the map itself. @param {PointerEvent} event */
  handleHold(event) {
    if (this.drag || event.button !== 0 || !this.view.zoomed) return;
    this.held = this.pointAt(event);
    this.svg.setPointerCapture(event.pointerId);
  }

  /** @param {string} name */
  layer(name) {
    const group = make("g", { class: name });
    this.svg.append(group);
    return group;
  }

  /** @param {Cloud} cloud @param {Place | null} me @param {string} selected  The session whose page is open. */
  render(cloud, me, selected) {
    this.cloud = cloud;
    this.me = me;
    this.selected = selected;
    this.places = cloud.places;
    if (this.fit(cloud)) this.look();
    else this.draw(cloud, selected);
  }

  /** @param {Cloud} cloud @param {string} selected */
  draw(cloud, selected) {
    this.renderLinks(cloud);
    this.renderPlaces(cloud);
    this.renderSites(cloud);
    this.renderSessions(cloud, selected);
  }

  /** Turns to the part of the world where there is something. Whether that has changed. @param {Cloud} cloud */
  fit(cloud) {
    const { clientWidth, clientHeight } = this.parent;
    const somewhere = [...cloud.sites.values(), ...cloud.places];
    const key = `${clientWidth} ${clientHeight} ${somewhere.map(({ position }) => `${position.lat},${position.lon}`).join(" ")}`;
    if (key === this.framed || clientWidth === 0) return false;
    this.framed = key;
    this.view.handleBase(frame(somewhere.map(({ position }) => project(position)), clientWidth / clientHeight));
    return true;
  }

  /** @param {Element} element @param {Point} point */
  put(element, { x, y }) {
    element.setAttribute("transform", `translate(${x.toFixed(1)} ${y.toFixed(1)}) scale(${this.scale.toFixed(4)})`);
  }

  /** @param {Cloud} cloud */
  renderLinks(cloud) {
    const pairs = new Map();
    // Both ends measure; the pair is drawn once.
    for (const link of cloud.links) pairs.set([link.from, link.to].sort().join(" "), link);
    const shown = [...pairs.entries()].filter(([, link]) => cloud.sites.has(link.from) && cloud.sites.has(link.to));
    follow(
      this.layers.links,
      shown,
      ([key]) => key,
      () => group("link", [make("path", {}), make("text", {})]),
      (element, [, link]) => {
        const from = project(siteOf(cloud, link.from).position);
        const to = project(siteOf(cloud, link.to).position);
        const line = arc(from, to, 0.12);
        element.firstChild.setAttribute("d", line.path);
        this.put(element.lastChild, line.middle);
        setText(element.lastChild, `${Math.round(link.round_trip_ms)} ms`);
      },
    );
  }

  /** @param {Cloud} cloud */
  renderPlaces(cloud) {
    follow(
      this.layers.places,
      cloud.places,
      ({ name }) => name,
      ({ name }) => {
        const city = group("city", [make("circle", { r: 2 }), make("text", { y: -14 })]);
        setText(city.lastElementChild, name);
        return city;
      },
      (element, { position }) => this.put(element, project(position)),
    );
  }

  /** @param {Cloud} cloud */
  renderSites(cloud) {
    follow(
      this.layers.sites,
      cloud.sites.values(),
      ({ name }) => name,
      (site) => this.makeSite(site),
      (element, site) => {
        this.put(element, project(site.position));
        element.classList.toggle("down", !site.up);
        const ring = element.querySelector(".load");
        const round = 2 * Math.PI * RING_RADIUS;
        ring.setAttribute("stroke-dasharray", `${(Math.min(1, Math.max(0, site.load)) * round).toFixed(1)} ${round.toFixed(1)}`);
        setText(element.querySelector(".name"), site.title);
        setText(element.querySelector(".note"), siteNote(site));
        element.setAttribute("aria-label", `Site ${site.title}: ${siteNote(site)}`);
      },
    );
  }

  /** @param {Site} site */
  makeSite(site) {
    const element = group("site", [
      make("circle", { class: "ring", r: RING_RADIUS }),
      make("circle", { class: "load", r: RING_RADIUS, transform: "rotate(-90)" }),
      make("circle", { class: "dot", r: SITE_RADIUS }),
      make("text", { class: "name", y: 27 }),
      make("text", { class: "note", y: 40 }),
    ]);
    button(element, () => this.actions.onOpen(`/sites/${site.name}`));
    return element;
  }

  /** @param {Cloud} cloud @param {string} selected */
  renderSessions(cloud, selected) {
    const mine = heldSessions();
    const seats = seat(cloud, this.me, STACK_PIXELS * this.scale);
    const placed = [...cloud.sessions.values()].filter((session) => seats.has(session.id));
    follow(
      this.layers.arcs,
      placed.filter((session) => cloud.sites.has(session.host_site)),
      ({ id }) => id,
      () => group("arc", [make("path", { class: "access" }), make("path", { class: "inner" })]),
      (element, session) => drawArc(element, cloud, session, /** @type {Point} */ (seats.get(session.id)), session.id === selected),
    );
    const terminals = this.me ? [{ id: "me", session: null }, ...placed.map((session) => ({ id: session.id, session }))] : placed.map((session) => ({ id: session.id, session }));
    follow(
      this.layers.terminals,
      terminals,
      ({ id }) => id,
      ({ id }) => this.makeTerminal(id),
      (element, { id, session }) => {
        // What is under the hand stays there.
        if (this.drag?.marker !== element) this.put(element, /** @type {Point} */ (seats.get(id)));
        element.classList.toggle("selected", id === selected);
        element.classList.toggle("mine", mine.has(id));
        element.setAttribute("aria-label", session ? sessionLabel(cloud, session) : `You, in ${this.me?.name}`);
        setText(element.querySelector("text"), session ? initial(cloud.appTitle(session.app)) : "");
        setText(element.querySelector("title"), session ? sessionLabel(cloud, session) : `You are in ${this.me?.name}. Drag to another city.`);
      },
    );
  }

  /** @param {string} id */
  makeTerminal(id) {
    const element =
      id === "me"
        ? group("terminal me", [make("title", {}), make("circle", { r: 11, class: "grip" }), make("circle", { r: 8 }), make("path", { d: "M-3.6 4a3.8 3.8 0 0 1 7.2 0M0 -4.4a2 2 0 1 0 .01 0" })])
        : group("terminal", [make("title", {}), make("circle", { r: 11, class: "grip" }), make("circle", { r: 8 }), make("text", { y: 3.4 })]);
    const open = () => this.actions.onOpen(id === "me" ? "/here" : `/sessions/${id}`);
    button(element, open);
    element.addEventListener("pointerdown", (event) => {
      if (event.button !== 0 || this.places.length === 0) return;
      event.preventDefault();
      const at = this.pointAt(event);
      const drop = (/** @type {Place} */ place) => {
        const session = this.cloud?.sessions.get(id);
        if (id === "me") this.actions.onMoveMe(place);
        else if (session) this.actions.onMoveSession(session, place);
      };
      this.drag = { marker: element, start: at, at, place: null, drop, open, moved: false };
      this.svg.setPointerCapture(event.pointerId);
    });
    return element;
  }

  /** @param {MouseEvent} event @returns {Point} */
  pointAt(event) {
    const matrix = /** @type {SVGSVGElement} */ (this.svg).getScreenCTM();
    const point = new DOMPoint(event.clientX, event.clientY).matrixTransform(matrix?.inverse());
    return { x: point.x, y: point.y };
  }

  /** @param {PointerEvent} event */
  handleMove(event) {
    const { drag } = this;
    if (this.held) {
      const at = this.pointAt(event);
      this.view.handlePan(this.held.x - at.x, this.held.y - at.y);
      this.look();
    }
    if (!drag) return;
    drag.at = this.pointAt(event);
    if (Math.hypot(drag.at.x - drag.start.x, drag.at.y - drag.start.y) > CLICK_PIXELS * this.scale) drag.moved = true;
    if (!drag.moved) return;
    drag.marker.classList.add("dragged");
    this.put(drag.marker, drag.at);
    drag.place = nearest(drag.at, this.places);
    if (!drag.place) return;
    this.put(this.target, project(drag.place.position));
    setText(this.target.lastElementChild, drag.place.name);
    this.target.setAttribute("visibility", "visible");
  }

  /** @param {PointerEvent} _event */
  handleUp(_event) {
    const { drag } = this;
    this.endDrag();
    if (!drag) return;
    if (drag.moved && drag.place) drag.drop(drag.place);
    else if (!drag.moved) drag.open();
  }

  endDrag() {
    this.held = null;
    this.drag?.marker.classList.remove("dragged");
    this.drag = null;
    this.target.setAttribute("visibility", "hidden");
    if (this.cloud) this.renderSessions(this.cloud, this.selected);
  }
}

/**
 * Where each terminal stands: in its city, side by side with the others there.
 * @param {Cloud} cloud
 * @param {Place | null} me
 * @param {number} apart  In map units.
 * @returns {Map<string, Point>}
 */
function seat(cloud, me, apart) {
  /** @type {Map<string, Point>} */
  const seats = new Map();
  /** @type {Map<string, number>} */
  const taken = new Map();
  /** @param {string} id @param {import("./projection.js").Position} position */
  const sit = (id, position) => {
    const key = `${position.lat.toFixed(1)} ${position.lon.toFixed(1)}`;
    const nth = taken.get(key) ?? 0;
    taken.set(key, nth + 1);
    const { x, y } = project(position);
    seats.set(id, { x: x + apart * nth, y });
  };
  if (me) sit("me", me.position);
  for (const session of cloud.sessions.values()) if (session.position) sit(session.id, session.position);
  return seats;
}

/**
 * @param {Element} element
 * @param {Cloud} cloud
 * @param {Session} session
 * @param {Point} from
 * @param {boolean} selected
 */
function drawArc(element, cloud, session, from, selected) {
  const host = siteOf(cloud, session.host_site);
  const entry = cloud.sites.get(session.entry_site) ?? host;
  const [access, inner] = element.children;
  access.setAttribute("d", arc(from, project(entry.position), 0.22).path);
  inner.setAttribute("d", entry === host ? "" : arc(project(entry.position), project(host.position), 0.22).path);
  element.setAttribute("class", `arc ${session.state}${selected ? " selected" : ""}`);
}

/** @param {Cloud} cloud @param {string} name @returns {Site} */
function siteOf(cloud, name) {
  return /** @type {Site} */ (cloud.sites.get(name));
}

/** @param {Cloud} cloud @param {Session} session */
function sessionLabel(cloud, session) {
  const city = cloud.placeOf(session)?.name ?? "somewhere";
  const via = session.entry_site === session.host_site ? "" : ` by ${cloud.siteTitle(session.entry_site)}`;
  return `${cloud.appTitle(session.app)}: ${city} to ${cloud.siteTitle(session.host_site)}${via}`;
}

/** @param {Site} site */
function siteNote(site) {
  if (!site.up) return "not reachable";
  const load = `${Math.round(site.load * 100)} % busy`;
  return site.sessions === 0 ? load : `${load}, ${site.sessions} ${site.sessions === 1 ? "session" : "sessions"}`;
}

/** @param {string} title */
function initial(title) {
  return title.slice(0, 1).toUpperCase();
}

/** @param {SVGElement} element @param {() => void} act */
function button(element, act) {
  element.setAttribute("tabindex", "0");
  element.setAttribute("role", "button");
  element.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" && event.key !== " ") return;
    event.preventDefault();
    act();
  });
  if (element.classList.contains("site")) element.addEventListener("click", act);
}

/** @param {string} name @param {Record<string, string | number>} attributes @returns {SVGElement} */
function make(name, attributes) {
  const element = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, String(value));
  return element;
}

/** @param {string} name @param {SVGElement[]} children */
function group(name, children) {
  const element = make("g", { class: name });
  element.append(...children);
  return element;
}
