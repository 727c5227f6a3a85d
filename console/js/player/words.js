// Why a session ended, as a person would say it, and what can be done.

/** @typedef {import("../shared/words.js").Words} Words */

/** @param {string} reason @param {string} text @returns {Words} */
export function endedBecause(reason, text) {
  const hint = "Start again for a new session.";
  switch (reason) {
    case "left":
      return { title: "The session is closed", text: "The app was stopped and what it held is gone.", hint, action: "again" };
    case "idle":
      return { title: "Closed while you were away", text: text || "Nobody touched the app for a while.", hint, action: "again" };
    case "failed":
      return { title: "The app stopped", text: text || "It ended by itself and could not be started again.", hint, action: "again" };
    case "gone":
      return { title: "The session is gone", text: "The app waited for you, then it was stopped.", hint, action: "again" };
    default:
      return { title: "The session was closed", text: text || "Somebody closed it.", hint, action: "again" };
  }
}
