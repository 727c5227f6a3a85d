// What went wrong wherever a picture is shown, as a person would say it, and what can be done.

import { placeName } from "./format.js";
import { ConnectError } from "./transport.js";

/**
 * @typedef {object} Words
 * @property {string} title
 * @property {string} text
 * @property {string} hint
 * @property {"again" | "reload" | "none"} action  What the button does, if there is one.
 */

/** Explains what is not a refusal by the center. @param {unknown} error @returns {Words} */
export function explainFault(error) {
  if (error instanceof ConnectError) return explainConnection(error);
  return {
    title: "Something in this page failed",
    text: error instanceof Error ? error.message : "Nobody knows what.",
    hint: "Reload the page. If it happens again, tell whoever runs this cloud.",
    action: "reload",
  };
}

/** @param {ConnectError} error @returns {Words} */
function explainConnection(error) {
  const site = placeName(error.entry);
  switch (error.kind) {
    case "refused":
      return {
        title: `${site} did not let us in`,
        text: "The edge there refused this page's ticket. It may have expired, or be for something else.",
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
        text: "The edge did not answer in time, or had nothing to show.",
        hint: "Try again. If it stays so, a firewall may block UDP and WebSockets to it.",
        action: "again",
      };
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
