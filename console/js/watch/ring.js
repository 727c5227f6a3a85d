// The ring: the event from above, its cameras around it, and where the viewer stands.

import { h } from "../shared/dom.js";
import { angle } from "./view.js";

/** @typedef {import("../shared/types.js").LiveManifest} LiveManifest */

const SVG = "http://www.w3.org/2000/svg";
/** Of the drawing, whose middle is 0, 0. */
const RADIUS = 74;
/** From the middle to the viewer's handle. */
const HANDLE = 92;
/** How wide the wedge of what is seen is drawn, from the camera, in radians at most. */
const WEDGE_MAX = 1.1;

/** The widget. */
export class Ring {
  /**
   * @param {HTMLElement} element
   * @param {LiveManifest} manifest
   * @param {import("./view.js").Seat[]} seats
   * @param {{onTurn: (bearing: number) => void, onTurnEnd: () => void, onChoose: (camera: string) => void}} actions
   */
  constructor(element, manifest, seats, actions) {
    this.element = element;
    this.actions = actions;
    this.places = places(manifest, seats);
    this.svg = svg("svg", { viewBox: "-104 -104 208 208", class: "ring-drawing", "aria-hidden": "true" });
    this.wedge = svg("path", { class: "wedge" });
    this.handle = svg("g", { class: "handle" }, svg("line", { x1: RADIUS + 9, y1: 0, x2: HANDLE - 7, y2: 0 }), svg("circle", { cx: HANDLE, cy: 0, r: 7 }));
    this.svg.append(svg("circle", { r: RADIUS, class: "orbit" }), svg("ellipse", { rx: 26, ry: 17, class: "ground" }), this.wedge, this.handle);
    /** @type {Map<string, {dot: SVGElement, button: HTMLButtonElement}>} */
    this.cameras = new Map();
    for (const place of this.places) this.cameras.set(place.name, this.makeCamera(place));
    element.replaceChildren(this.svg, ...[...this.cameras.values()].map(({ button }) => button));
    this.listen();
  }

  /** @param {ReturnType<typeof places>[number]} place */
  makeCamera({ name, title, x, y, look }) {
    const turn = `translate(${x} ${-y}) rotate(${-look})`;
    const dot = svg("path", { class: "camera", d: "M7 0 L-4.5 5.5 L-2.5 0 L-4.5 -5.5 Z", transform: turn });
    this.svg.insertBefore(dot, this.handle);
    const button = h("button", { class: "ring-camera", type: "button", onclick: () => this.actions.onChoose(name) });
    button.dataset.title = title;
    button.style.left = `${50 + (x / 208) * 100}%`;
    button.style.top = `${50 - (y / 208) * 100}%`;
    return { dot, button };
  }

  listen() {
    const bearing = (/** @type {PointerEvent} */ event) => {
      const box = this.svg.getBoundingClientRect();
      return (Math.atan2(box.top + box.height / 2 - event.clientY, event.clientX - box.left - box.width / 2) * 180) / Math.PI;
    };
    let holding = false;
    this.svg.addEventListener("pointerdown", (event) => {
      holding = true;
      this.svg.setPointerCapture(event.pointerId);
      this.actions.onTurn(bearing(event));
      event.stopPropagation();
    });
    this.svg.addEventListener("pointermove", (event) => {
      if (holding) this.actions.onTurn(bearing(event));
    });
    for (const end of ["pointerup", "pointercancel"]) {
      this.svg.addEventListener(end, () => {
        if (holding) this.actions.onTurnEnd();
        holding = false;
      });
    }
  }

  /** @param {number} bearing */
  setAngle(bearing) {
    this.handle.setAttribute("transform", `rotate(${-angle(bearing)})`);
  }

  /** @param {{onAir: Set<string> | string[], shown: string}} cameras */
  setCameras({ onAir, shown }) {
    const live = new Set(onAir);
    for (const { name, title } of this.places) {
      const camera = this.cameras.get(name);
      if (!camera) continue;
      const state = name === shown ? "shown" : live.has(name) ? "live" : "off";
      camera.dot.dataset.state = state;
      camera.button.disabled = state === "off";
      camera.button.setAttribute("aria-label", `${title}${state === "off" ? ", off air" : state === "shown" ? ", seen now" : ""}`);
      camera.button.title = state === "off" ? `${title} is off air` : title;
    }
    const place = this.places.find(({ name }) => name === shown);
    this.wedge.setAttribute("d", place ? wedgeOf(place) : "");
  }
}

/** Where the cameras are drawn. @param {LiveManifest} manifest @param {import("./view.js").Seat[]} seats */
function places(manifest, seats) {
  return manifest.cameras.map((camera, index) => {
    const bearing = (seats[index].bearing * Math.PI) / 180;
    return {
      name: camera.name,
      title: camera.title || camera.name,
      x: round(Math.cos(bearing) * RADIUS),
      y: round(Math.sin(bearing) * RADIUS),
      look: round(camera.yaw_degrees),
      field: Math.min(WEDGE_MAX, ((camera.field_of_view_degrees || 60) * Math.PI) / 180),
    };
  });
}

/** @param {ReturnType<typeof places>[number]} place */
function wedgeOf({ x, y, look, field }) {
  const [near, far] = [6, RADIUS * 1.55];
  const at = (/** @type {number} */ turn, /** @type {number} */ distance) => {
    const direction = (look * Math.PI) / 180 + turn;
    return `${round(x + Math.cos(direction) * distance)} ${round(-y - Math.sin(direction) * distance)}`;
  };
  return `M${at(0, near)} L${at(field / 2, far)} A${far} ${far} 0 0 1 ${at(-field / 2, far)} Z`;
}

/** @param {number} value */
function round(value) {
  return Math.round(value * 100) / 100;
}

/** @param {string} tag @param {{[name: string]: string | number}} attributes @param {...SVGElement} children @returns {SVGElement} */
function svg(tag, attributes, ...children) {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, String(value));
  element.append(...children);
  return /** @type {SVGElement} */ (element);
}
