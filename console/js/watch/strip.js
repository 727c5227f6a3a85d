// All cameras in a row, each with a small picture: of when it was seen last, or fetched, one keyframe at a time.

import { h } from "../shared/dom.js";
import { Feed } from "./feed.js";

/** @typedef {import("./attachment.js").Attachment} Attachment */

/** Lines of a small picture. */
const LINES = 90;
/** Between two pictures that are fetched, in milliseconds: a keyframe of the smallest rendition each, some 100 kbit/s. */
const FETCH_EVERY_MS = 900;
/** An edge may have to make the rendition first; what takes longer is left out this time, in milliseconds. */
const FETCH_LIMIT_MS = 2_500;
/** What is seen is copied this often, in milliseconds. */
const COPY_EVERY_MS = 1_000;
/** Behind everything that is watched. */
const PRIORITY = 20;

/** The widget. */
export class Strip {
  /**
   * @param {HTMLElement} element
   * @param {import("../shared/types.js").LiveManifest} manifest
   * @param {object} actions
   * @param {(camera: string) => void} actions.onChoose
   * @param {() => Attachment | null} actions.mayFetch
   * @param {(timestamp: number) => boolean} actions.isHistory
   * @param {(bytes: number) => void} actions.onBytes
   */
  constructor(element, manifest, actions) {
    this.element = element;
    this.actions = actions;
    /** The smallest rendition; without one nothing is fetched. */
    this.rendition = manifest.renditions.at(-1)?.name ?? "";
    /** @type {Map<string, {button: HTMLButtonElement, canvas: HTMLCanvasElement, at: number}>} */
    this.cameras = new Map();
    for (const camera of manifest.cameras) {
      const canvas = h("canvas", { width: 160, height: LINES });
      const button = h("button", { class: "thumb", type: "button", onclick: () => actions.onChoose(camera.name) }, canvas, h("span", null, camera.title || camera.name));
      this.cameras.set(camera.name, { button, canvas, at: -Infinity });
    }
    element.replaceChildren(...[...this.cameras.values()].map(({ button }) => button));
    this.fetching = false;
    this.timer = 0;
    this.copiedAt = -Infinity;
  }

  get open() {
    return !this.element.hidden;
  }

  toggle() {
    this.element.hidden = !this.element.hidden;
    clearInterval(this.timer);
    if (this.open) this.timer = setInterval(() => void this.fetchNext(), FETCH_EVERY_MS);
    if (this.open) void this.fetchNext();
  }

  /** @param {{onAir: Set<string>, shown: string}} cameras */
  setCameras({ onAir, shown }) {
    for (const [name, { button }] of this.cameras) {
      button.disabled = !onAir.has(name);
      button.dataset.state = name === shown ? "shown" : onAir.has(name) ? "live" : "off";
      button.setAttribute("aria-pressed", String(name === shown));
    }
  }

  /** What is seen costs nothing to keep. @param {string} camera @param {HTMLCanvasElement} picture @param {number} now */
  handleDrawn(camera, picture, now) {
    const due = this.shown !== camera || now > this.copiedAt + COPY_EVERY_MS;
    this.shown = camera;
    if (!due) return;
    this.copiedAt = now;
    this.copy(camera, picture, picture.width, picture.height);
  }

  /** @param {string} camera @param {CanvasImageSource} picture @param {number} width @param {number} height */
  copy(camera, picture, width, height) {
    const entry = this.cameras.get(camera);
    if (!entry || height === 0) return;
    const { canvas } = entry;
    const across = Math.round((width / height) * LINES);
    if (canvas.width !== across) canvas.width = across;
    canvas.getContext("2d")?.drawImage(picture, 0, 0, across, LINES);
    entry.at = performance.now();
    entry.button.dataset.seen = "true";
  }

  /** Fetches the picture that is oldest. */
  async fetchNext() {
    const attachment = this.actions.mayFetch();
    if (this.fetching || !attachment || this.rendition === "" || document.hidden) return;
    const wanted = [...this.cameras].filter(([name]) => attachment.onAir.has(name) && name !== this.shown);
    const [oldest] = wanted.sort(([, a], [, b]) => a.at - b.at);
    if (!oldest) return;
    this.fetching = true;
    const [camera, entry] = oldest;
    // Who does not answer comes last the next time.
    entry.at = performance.now();
    try {
      await this.fetch(attachment, camera);
    } finally {
      this.fetching = false;
    }
  }

  /** @param {Attachment} attachment @param {string} camera @returns {Promise<void>} */
  fetch(attachment, camera) {
    return new Promise((resolve) => {
      const finish = () => {
        clearTimeout(limit);
        feed.close();
        resolve();
      };
      const limit = setTimeout(finish, FETCH_LIMIT_MS);
      const feed = new Feed({
        attachment,
        name: { camera, rendition: this.rendition },
        priority: PRIORITY,
        onBytes: this.actions.onBytes,
        isHistory: this.actions.isHistory,
        onDecoded: (_, { frame }) => {
          this.copy(camera, frame, frame.displayWidth, frame.displayHeight);
          frame.close();
          finish();
        },
      });
    });
  }
}
