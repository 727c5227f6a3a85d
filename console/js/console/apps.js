// The page of apps: what is deployed, a button to open it, and how to deploy more.

import { h } from "../shared/dom.js";
import { bytes } from "../shared/format.js";
import { icon } from "../shared/icons.js";
import { operatorToken } from "../shared/token.js";
import { follow, setText } from "./list.js";
import { confirmButton, empty, fieldOf } from "./parts.js";

/** @typedef {import("../shared/types.js").App} App */
/** @typedef {import("./cloud.js").Cloud} Cloud */

/** Lists the apps. */
export class AppsPage {
  /** @param {{removeApp: (app: App) => void}} actions */
  constructor(actions) {
    this.actions = actions;
    this.list = h("ul", { class: "cards" });
    this.none = empty("No app is deployed", "Write a manifest, or take one of the examples, and deploy it:", "selvedge app deploy apps/doom");
    this.more = h("p", { class: "hint" }, "Deploy another with ", h("code", null, "selvedge app deploy <folder>"), ".");
    this.element = h("section", { class: "page", "aria-label": "Apps" }, this.none, this.list, this.more);
  }

  /** @param {Cloud} cloud */
  render(cloud) {
    this.none.hidden = cloud.apps.size > 0;
    this.more.hidden = cloud.apps.size === 0;
    follow(
      this.list,
      [...cloud.apps.values()].sort((a, b) => a.name.localeCompare(b.name)),
      ({ name }) => name,
      (app) => this.makeCard(app),
      (element, app) => updateCard(element, app, cloud),
    );
  }

  /** @param {App} app */
  makeCard(app) {
    const remove = confirmButton("Remove", app.sessions > 0 ? "Its sessions end. Remove?" : "Really remove?", () => this.actions.removeApp(app));
    return h(
      "li",
      { class: "card-item" },
      h("div", { class: "card-head" }, h("h2", { "data-field": "title" }), h("a", { class: "button primary", "data-field": "open", target: "_blank", rel: "opener" }, icon("open"), h("span", { "data-field": "verb" }, "Open"))),
      h("p", { class: "hint", "data-field": "summary" }),
      h(
        "details",
        null,
        h("summary", null, "Details"),
        h("p", null, h("code", { "data-field": "command" })),
        h("p", { class: "hint", "data-field": "details" }),
        remove,
      ),
    );
  }
}

/** @param {Element} element @param {App} app @param {Cloud} cloud */
function updateCard(element, app, cloud) {
  const { manifest, number } = app.release;
  setText(fieldOf(element, "title"), manifest.title || app.name);
  const link = /** @type {HTMLAnchorElement | null} */ (fieldOf(element, "open"));
  const token = operatorToken();
  // An app that is not public opens with the operator's token, which the player takes out of the address at once.
  const page = manifest.kind === "live" ? "watch" : "play";
  if (link) link.href = `/${page}/${app.name}${manifest.access.public || !token ? "" : `#token=${encodeURIComponent(token)}`}`;
  setText(fieldOf(element, "verb"), manifest.kind === "live" ? "Watch" : "Open");
  const where = app.sites.length === 0 ? "no site has what it needs" : app.sites.length === cloud.sites.size ? "on every site" : `in ${app.sites.map((site) => cloud.siteTitle(site)).join(", ")}`;
  const use = app.sessions === 0 ? "nobody uses it" : app.sessions === 1 ? "1 session" : `${app.sessions} sessions`;
  setText(fieldOf(element, "summary"), manifest.kind === "live" ? onAir(cloud.events.get(app.name), manifest) : `${use}, ${where}`);
  setText(fieldOf(element, "command"), manifest.kind === "live" ? manifest.cameras.map((camera) => camera.title).join(", ") : manifest.command.join(" "));
  const access = manifest.access.public ? "Open to everyone." : "Only with a token.";
  setText(fieldOf(element, "details"), `${app.name}, release ${number}. ${manifest.kind === "live" ? aboutEvent(manifest) : aboutProgram(manifest)} ${access}`);
}

/** @param {import("../shared/types.js").LiveEvent | undefined} event @param {import("../shared/types.js").LiveManifest} manifest */
function onAir(event, manifest) {
  if (!event) return `live event, ${manifest.cameras.length === 1 ? "1 camera" : `${manifest.cameras.length} cameras`}`;
  const count = event.cameras.filter(({ status }) => status).length;
  const cameras = count === 0 ? "no camera is on air" : `${count} of ${event.cameras.length} cameras on air`;
  const viewers = event.viewers === 0 ? "nobody watches" : event.viewers === 1 ? "1 viewer" : `${event.viewers} viewers`;
  return `${cameras}, ${viewers}`;
}

/** @param {import("../shared/types.js").LiveManifest} manifest */
function aboutEvent(manifest) {
  const cameras = manifest.cameras.length === 1 ? "1 camera" : `${manifest.cameras.length} cameras`;
  const lines = manifest.renditions.map((rendition) => rendition.height).join(", ");
  return `${cameras}${lines ? `, also with ${lines} lines` : ""}; the last ${manifest.retention_secs} s are kept.`;
}

/** @param {import("../shared/types.js").StreamManifest} manifest */
function aboutProgram(manifest) {
  const moves = manifest.session.on_move === "restart" ? "starts anew near a terminal that moves" : "stays where it is when its terminal moves";
  return (
    `${manifest.screen.width} × ${manifest.screen.height}, ${manifest.resources.cpu} cores and ${bytes(manifest.resources.memory)} a session. ` +
    `It ${moves}, and waits ${manifest.session.reconnect_grace_secs} s for one that left.`
  );
}
