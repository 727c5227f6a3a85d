// What the viewer's page says when something is in the way.

import { ApiError } from "../shared/api.js";
import { explainFault } from "../shared/words.js";

/** @typedef {import("../shared/words.js").Words} Words */

/** @param {unknown} error @param {string} event @returns {Words} */
export function explainFailure(error, event) {
  return error instanceof ApiError ? explainRefusal(error, event) : explainFault(error);
}

/** @param {ApiError} error @param {string} event @returns {Words} */
function explainRefusal(error, event) {
  switch (error.code) {
    case "not_found":
      return {
        title: `There is no event called “${event}” here`,
        text: error.message,
        hint: error.hint || "Check the address, or look at the console for what is deployed.",
        action: "none",
      };
    case "bad_request":
      return { title: `“${event}” cannot be watched`, text: error.message, hint: error.hint, action: "none" };
    case "unauthorized":
    case "forbidden":
      return {
        title: `“${event}” is not open to everyone, or not here`,
        // The center's own hint is for programs.
        text: "Without the operator's token the cloud does not say which.",
        hint: "Open the event from the console, or ask whoever runs this cloud for a link.",
        action: "none",
      };
    case "no_place":
      return {
        title: "No site can take you in now",
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
