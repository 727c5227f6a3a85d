// The pages of sites: all of them, and one with its nodes and links.

import { h } from "../shared/dom.js";
import { bytes, milliseconds } from "../shared/format.js";
import { follow, setText } from "./list.js";
import { empty, facts, fieldOf, goTo } from "./parts.js";

/** @typedef {import("../shared/types.js").NodeView} NodeView */
/** @typedef {import("../shared/types.js").Site} Site */
/** @typedef {import("./cloud.js").Cloud} Cloud */

/** Lists the sites. */
export class SitesPage {
  constructor() {
    this.list = h("ul", { class: "cards" });
    this.none = empty("No site has joined", "Ask for a token here, and start an edge on a machine there:", "selvedge edge --center <address> --join <token>");
    this.element = h("section", { class: "page", "aria-label": "Sites" }, this.none, this.list);
  }

  /** @param {Cloud} cloud */
  render(cloud) {
    this.none.hidden = cloud.sites.size > 0;
    follow(
      this.list,
      cloud.sites.values(),
      ({ name }) => name,
      (site) =>
        h(
          "li",
          { class: "card-item" },
          h("div", { class: "card-head" }, h("h2", null, goTo(`/sites/${site.name}`, site.title)), h("span", { class: "badge", "data-field": "state" })),
          h("meter", { min: 0, max: 1, low: 0.7, high: 0.9, optimum: 0, "aria-label": "Load" }),
          h("p", { class: "hint", "data-field": "summary" }),
        ),
      (element, site) => updateSite(element, site),
    );
  }
}

/** @param {Element} element @param {Site} site */
function updateSite(element, site) {
  const badge = fieldOf(element, "state");
  setText(badge, site.up ? "up" : "not reachable");
  if (badge) badge.dataset.tone = site.up ? "good" : "bad";
  const meter = element.querySelector("meter");
  if (meter) meter.value = site.load;
  const nodes = site.nodes.length === 1 ? "1 node" : `${site.nodes.length} nodes`;
  const sessions = site.sessions === 1 ? "1 session" : `${site.sessions} sessions`;
  setText(fieldOf(element, "summary"), `${nodes}, ${sessions}, ${Math.round(site.load * 100)} % busy`);
}

/** One site. */
export class SitePage {
  constructor() {
    this.title = h("h2", null);
    this.state = h("span", { class: "badge" });
    this.facts = facts([
      ["name", "Name"],
      ["position", "Position"],
      ["load", "Load"],
      ["sessions", "Sessions"],
    ]);
    this.nodes = h("ul", { class: "cards" });
    this.links = h("dl", { class: "facts" });
    this.gone = empty("There is no such site", "It may have another name, or never have joined.");
    this.body = h("div", null, h("div", { class: "card-head" }, this.title, this.state), this.facts, h("h3", null, "Nodes"), this.nodes, h("h3", null, "Round trips to other sites"), this.links);
    this.element = h("section", { class: "page", "aria-label": "Site" }, goTo("/sites", "All sites"), this.gone, this.body);
  }

  /** @param {Cloud} cloud @param {string} name */
  render(cloud, name) {
    const site = cloud.sites.get(name);
    this.gone.hidden = site !== undefined;
    this.body.hidden = site === undefined;
    if (!site) return;
    setText(this.title, site.title);
    setText(this.state, site.up ? "up" : "not reachable");
    this.state.dataset.tone = site.up ? "good" : "bad";
    setText(fieldOf(this.facts, "name"), site.name);
    setText(fieldOf(this.facts, "position"), coordinates(site));
    setText(fieldOf(this.facts, "load"), `${Math.round(site.load * 100)} %`);
    setText(fieldOf(this.facts, "sessions"), String(site.sessions));
    const nodes = [...cloud.nodes.values()].filter((node) => node.site === name);
    follow(this.nodes, nodes, ({ id }) => id, makeNode, updateNode);
    const links = new Map(cloud.links.filter(({ from, to }) => from === name || to === name).map((link) => [link.from === name ? link.to : link.from, link]));
    const rows = [...links].flatMap(([other, link]) => [
      { key: `${other} name`, tag: /** @type {const} */ ("dt"), text: cloud.siteTitle(other) },
      { key: `${other} value`, tag: /** @type {const} */ ("dd"), text: milliseconds(link.round_trip_ms) },
    ]);
    follow(
      this.links,
      rows,
      ({ key }) => key,
      ({ tag }) => h(tag, null),
      (element, { text }) => setText(element, text),
    );
  }
}

/** @param {Site} site */
function coordinates({ position }) {
  const north = `${Math.abs(position.lat).toFixed(2)}° ${position.lat >= 0 ? "N" : "S"}`;
  return `${north}, ${Math.abs(position.lon).toFixed(2)}° ${position.lon >= 0 ? "E" : "W"}`;
}

function makeNode() {
  return h(
    "li",
    { class: "card-item" },
    h("div", { class: "card-head" }, h("h3", { "data-field": "id" }), h("span", { class: "badge", "data-field": "state" })),
    h("p", { class: "hint", "data-field": "summary" }),
    h("p", { class: "hint", "data-field": "addresses" }),
    h("p", { class: "lacks", "data-field": "lacks" }),
  );
}

/** @param {Element} element @param {NodeView} node */
function updateNode(element, node) {
  setText(fieldOf(element, "id"), `Node ${node.id}`);
  const badge = fieldOf(element, "state");
  setText(badge, node.status);
  if (badge) badge.dataset.tone = node.status === "ready" ? "good" : node.status === "silent" ? "bad" : "warn";
  const free = `${(node.free.cpu_millis / 1_000).toFixed(1)} of ${(node.capacity.cpu_millis / 1_000).toFixed(1)} cores and ${bytes(node.free.memory)} of ${bytes(node.capacity.memory)} free`;
  setText(fieldOf(element, "summary"), `${free}; ${node.sessions} running, ${node.warm} warm; version ${node.version}`);
  setText(fieldOf(element, "addresses"), node.endpoints.filter(({ network }) => network === undefined).map(({ address }) => address).join(", "));
  setText(fieldOf(element, "lacks"), (node.lacks ?? []).join("; "));
}
