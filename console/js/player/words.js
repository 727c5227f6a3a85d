// What went wrong, as a person would say it, and what can be done.

import { ApiError } from "../shared/api.js";
import { explainFault } from "../shared/words.js";

/** @typedef {import("../shared/words.js").Words} Words */

/** @param {unknown} error @param {string} app @returns {Words} */
export function explainFailure(error, app) {
  if (error instanceof ApiError) return explainRefusal(error, app);
  return explainFault(error);
}

/** @param {ApiError} error @param {string} app @returns {Words} */
function explainRefusal(error, app) {
  switch (error.code) {
    case "not_found":
      return {
        title: `There is no app called “${app}” here`,
        text: error.message,
        hint: error.hint || "Check the address, or look at the console for what is deployed.",
        action: "none",
      };
    case "unauthorized":
    case "forbidden":
      return {
        title: `“${app}” is not open to everyone, or not here`,
        // The center's own hint is for programs.
        text: "Without the operator's token the cloud does not say which.",
        hint: "Open the app from the console, or ask whoever runs this cloud for a link.",
        action: "none",
      };
    case "no_place":
      return {
        title: "No site can run it now",
        text: error.message,
        hint: error.hint || "Try again in a moment, or say that you are in another city.",
        action: "again",
      };
    case "center_away":
      return { title: "The cloud does not answer", text: error.message, hint: error.hint, action: "again" };
    default:
      return { title: "The cloud said no", text: error.message, hint: error.hint || "Try again in a moment.", action: "again" };
  }
}

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
