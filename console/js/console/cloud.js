// The cloud as the console knows it: a snapshot, then changes. Pure.

/** @typedef {import("../shared/types.js").App} App */
/** @typedef {import("../shared/types.js").Link} Link */
/** @typedef {import("../shared/types.js").LiveEvent} LiveEvent */
/** @typedef {import("../shared/types.js").NodeView} NodeView */
/** @typedef {import("../shared/types.js").Place} Place */
/** @typedef {import("../shared/types.js").Session} Session */
/** @typedef {import("../shared/types.js").Site} Site */
/** @typedef {import("../shared/types.js").Snapshot} Snapshot */

/** Everything there is, by name or id. */
export class Cloud {
  constructor() {
    /** Whether a snapshot has come. */
    this.known = false;
    /** @type {Map<string, Site>} */
    this.sites = new Map();
    /** @type {Map<string, NodeView>} */
    this.nodes = new Map();
    /** @type {Map<string, App>} */
    this.apps = new Map();
    /** @type {Map<string, Session>} */
    this.sessions = new Map();
    /** How live events are, by name. @type {Map<string, LiveEvent>} */
    this.events = new Map();
    /** @type {Link[]} */
    this.links = [];
    /** @type {Place[]} */
    this.places = [];
  }

  /**
   * @param {string} kind
   * @param {any} data
   */
  apply(kind, data) {
    switch (kind) {
      case "snapshot":
        this.replace(data);
        break;
      case "site":
        this.sites.set(data.name, data);
        break;
      case "node":
        this.nodes.set(data.id, data);
        break;
      case "app":
        this.apps.set(data.name, data);
        break;
      case "session":
        this.sessions.set(data.id, data);
        break;
      case "links":
        this.links = data;
        break;
      case "removed":
        this.remove(data.kind, data.id);
        break;
      default:
        // A newer center may tell more than this page knows.
        break;
    }
  }

  /** @param {Snapshot} snapshot */
  replace(snapshot) {
    this.known = true;
    this.sites = new Map(snapshot.sites.map((site) => [site.name, site]));
    this.nodes = new Map(snapshot.nodes.map((node) => [node.id, node]));
    this.apps = new Map(snapshot.apps.map((app) => [app.name, app]));
    this.sessions = new Map(snapshot.sessions.map((session) => [session.id, session]));
    this.links = snapshot.links;
    this.places = snapshot.places;
  }

  /** How live events are now: all of them. @param {LiveEvent[]} events */
  handleEvents(events) {
    this.events = new Map(events.map((event) => [event.name, event]));
  }

  /** Whether anything is deployed that has cameras. */
  get hasEvents() {
    return [...this.apps.values()].some(({ release }) => release.manifest.kind === "live");
  }

  /** @param {string} kind @param {string} id */
  remove(kind, id) {
    if (kind === "site") this.sites.delete(id);
    if (kind === "node") this.nodes.delete(id);
    if (kind === "app") this.apps.delete(id);
    if (kind === "session") this.sessions.delete(id);
  }

  /** What people call a site. @param {string} name */
  siteTitle(name) {
    return this.sites.get(name)?.title ?? name;
  }

  /** What people call an app. @param {string} name */
  appTitle(name) {
    return this.apps.get(name)?.release.manifest.title || name;
  }

  /** The city a session's terminal says it is in. @param {Session} session @returns {Place | null} */
  placeOf(session) {
    if (session.network !== undefined) {
      const place = this.places.find(({ network }) => network === session.network);
      if (place) return place;
    }
    const { position } = session;
    if (!position) return null;
    return this.places.find((place) => Math.abs(place.position.lat - position.lat) < 0.01 && Math.abs(place.position.lon - position.lon) < 0.01) ?? null;
  }
}
