// The sessions this browser holds the keys of. A closed tab must find its way back, so they outlive the tab.

/** @typedef {{id: string, key: string}} Held */

const PREFIX = "selvedge.session.";

/** @param {string} app @returns {Held | null} */
export function heldSession(app) {
  try {
    const held = JSON.parse(localStorage.getItem(PREFIX + app) ?? "null");
    return typeof held?.id === "string" && typeof held?.key === "string" ? { id: held.id, key: held.key } : null;
  } catch {
    return null;
  }
}

/** @param {string} app @param {Held} held */
export function holdSession(app, held) {
  try {
    localStorage.setItem(PREFIX + app, JSON.stringify(held));
  } catch {
    // Without storage a reload begins a new session.
  }
}

/** @param {string} app */
export function dropSession(app) {
  try {
    localStorage.removeItem(PREFIX + app);
  } catch {
    // Nothing was kept.
  }
}

/** The ids of all sessions this browser holds. @returns {Set<string>} */
export function heldSessions() {
  /** @type {Set<string>} */
  const ids = new Set();
  try {
    for (let i = 0; i < localStorage.length; i += 1) {
      const name = localStorage.key(i);
      const held = name?.startsWith(PREFIX) ? heldSession(name.slice(PREFIX.length)) : null;
      if (held) ids.add(held.id);
    }
  } catch {
    // None, then.
  }
  return ids;
}
