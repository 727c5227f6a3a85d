// What went wrong, as a person would say it, and what can be done.

import { ApiError } from "../shared/api.js";
import { placeName } from "../shared/format.js";
import { ConnectError } from "./connection.js";

/**
 * @typedef {object} Words
 * @property {string} title
 * @property {string} text
 * @property {string} hint
 * @property {"again" | "reload" | "none"} action  What the button does, if there is one.
 */

/** @param {unknown} error @param {string} app @returns {Words} */
export function explainFailure(error, app) {
  if (error instanceof ApiError) return explainRefusal(error, app);
  if (error instanceof ConnectError) return explainConnection(error);
  return {
    title: "Something in this page failed",
    text: error instanceof Error ? error.message : "Nobody knows what.",
    hint: "Reload the page. If it happens again, tell whoever runs this cloud.",
    action: "reload",
  };
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

/** @param {ConnectError} error @returns {Words} */
function explainConnection(error) {
  const site = placeName(error.entry);
  switch (error.kind) {
    case "refused":
      return {
        title: `${site} did not let us in`,
        text: "The edge there refused this page's ticket. It may have expired, or belong to another session.",
        hint: "Try again: a new ticket is asked for.",
        action: "again",
      };
    case "certificate":
      return {
        title: `${site} could not prove who it is`,
        text: "The edge answers, but not over QUIC with the certificate that the center announced.",
        hint: "Try again in a minute; certificates change now and then. If it stays so, a firewall may block UDP, or something sits between you and the edge.",
        action: "again",
      };
    case "no_transport":
      return {
        title: "This browser cannot connect",
        text: "It has no WebTransport, and the edge offers no WebSocket.",
        hint: "Use a current Chrome, Edge, Firefox or Safari.",
        action: "none",
      };
    case "unreachable":
      return {
        title: `${site} sends no picture`,
        text: "The edge did not answer in time, or the app there did not start.",
        hint: "Try again. If it stays so, a firewall may block UDP and WebSockets to it.",
        action: "again",
      };
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

/** What this browser lacks, or null when it can play. @returns {Words | null} */
export function missingFromBrowser() {
  if (!isSecureContext) {
    return {
      title: "This page needs a secure address",
      text: "Browsers give pictures and sound only to pages that come over https, or from this very machine (localhost).",
      hint: "Open the console over https, or through localhost with a tunnel.",
      action: "none",
    };
  }
  if (typeof VideoDecoder === "undefined") {
    return {
      title: "This browser cannot decode the picture",
      text: "It has no WebCodecs.",
      hint: "These can: Chrome and Edge 119 or newer, Firefox 130 or newer on a computer, Safari 17.4 or newer.",
      action: "none",
    };
  }
  return null;
}
