// What went wrong wherever a picture is shown, as a person would say it, and what can be done.

import { ApiError } from "./api.js";
import { h } from "./dom.js";
import { placeName } from "./format.js";
import { ConnectError } from "./transport.js";

/**
 * @typedef {object} Words
 * @property {string} title
 * @property {string} text
 * @property {string} hint
 * @property {"again" | "reload" | "none"} action  What the button does, if there is one.
 */

/**
 * Explains what stands between a person and an app or an event.
 * @param {unknown} error
 * @param {{kind: "app" | "event", name: string, full: string}} wanted  `full` says that no site has room.
 * @returns {Words}
 */
export function explainFailure(error, wanted) {
  return error instanceof ApiError ? explainRefusal(error, wanted) : explainFault(error);
}

/** @param {ApiError} error @param {{kind: string, name: string, full: string}} wanted @returns {Words} */
function explainRefusal(error, { kind, name, full }) {
  const { message: text, hint } = error;
  switch (error.code) {
    case "not_found":
      return { title: `There is no ${kind} called “${name}” here`, text, hint: hint || "Check the address, or look at the console for what is deployed.", action: "none" };
    case "bad_request":
      return { title: kind === "event" ? `“${name}” cannot be watched` : `“${name}” cannot be opened`, text, hint, action: "none" };
    case "unauthorized":
    case "forbidden":
      return {
        title: `“${name}” is not open to everyone, or not here`,
        // The center's own hint is for programs.
        text: "Without the operator's token the cloud does not say which.",
        hint: `Open the ${kind} from the console, or ask whoever runs this cloud for a link.`,
        action: "none",
      };
    case "no_place":
      return { title: full, text, hint: hint || "Try again in a moment, or say that you are in another city.", action: "again" };
    case "center_away":
      return { title: "The cloud does not answer", text, hint, action: "again" };
    default:
      return { title: "The cloud said no", text, hint: hint || "Try again in a moment.", action: "again" };
  }
}

/**
 * Shows in a card why nothing goes on, with what can be done.
 * @param {HTMLElement} card
 * @param {Words} words
 * @param {{label: string, run: () => void}} again
 */
export function showStopped(card, words, again) {
  const button = (/** @type {string} */ label, /** @type {() => void} */ onclick) => h("button", { class: "button primary", type: "button", onclick }, label);
  const first = words.action === "again" ? button(again.label, again.run) : words.action === "reload" ? button("Reload", () => location.reload()) : null;
  card.replaceChildren(
    h("h2", null, words.title),
    h("p", null, words.text),
    words.hint ? h("p", { class: "hint" }, words.hint) : "",
    h("div", { class: "actions" }, first, h("a", { class: "button", href: "/" }, "Open the console")),
  );
  first?.focus();
}

/** Explains what is not a refusal by the center. @param {unknown} error @returns {Words} */
function explainFault(error) {
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
