// Keeps the event stream open, and says when it is not.

import { ApiError, isRecord } from "../shared/api.js";
import { operatorToken } from "../shared/token.js";
import { EventParser } from "./sse.js";

/** Waits between tries, in milliseconds. */
const RETRY_MS = [500, 1_000, 2_000, 4_000, 8_000];
/** A stream that says nothing for this long is dead, in milliseconds; the center speaks at least every 15 s. */
const SILENCE_MS = 45_000;

/** @typedef {"connecting" | "live" | "away" | "refused"} StreamState */

/** One endless subscription. */
export class EventStream {
  /**
   * @param {(kind: string, data: unknown) => void} onEvent
   * @param {(state: StreamState, message: string) => void} onState
   */
  constructor(onEvent, onState) {
    this.onEvent = onEvent;
    this.onState = onState;
    this.tries = 0;
    /** @type {ReturnType<typeof setTimeout> | undefined} */
    this.timer = undefined;
    this.controller = new AbortController();
  }

  start() {
    clearTimeout(this.timer);
    this.controller.abort();
    this.controller = new AbortController();
    void this.run(this.controller);
  }

  /** @param {AbortController} controller */
  async run(controller) {
    try {
      await this.read(controller);
      throw new ApiError({ code: "center_away", message: "The control center ended the stream.", status: 0 });
    } catch (error) {
      // Superseded by a newer run.
      if (controller !== this.controller) return;
      if (error instanceof ApiError && (error.status === 401 || error.status === 403)) {
        this.onState("refused", error.message);
        return;
      }
      this.onState("away", error instanceof Error ? error.message : "");
      this.timer = setTimeout(() => this.start(), RETRY_MS[Math.min(this.tries, RETRY_MS.length - 1)]);
      this.tries += 1;
    }
  }

  /** @param {AbortController} controller */
  async read(controller) {
    const token = operatorToken();
    const response = await fetch("/v1/events", {
      headers: { accept: "text/event-stream", ...(token ? { authorization: `Bearer ${token}` } : {}) },
      signal: controller.signal,
      cache: "no-store",
    });
    if (!response.ok || !response.body) throw await refusal(response);
    const parser = new EventParser();
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    let silence = setTimeout(() => controller.abort(), SILENCE_MS);
    try {
      for (;;) {
        const { value, done } = await reader.read();
        if (done) return;
        clearTimeout(silence);
        silence = setTimeout(() => controller.abort(), SILENCE_MS);
        for (const { event, data } of parser.push(value)) {
          this.onEvent(event, JSON.parse(data));
          if (event === "snapshot") {
            this.tries = 0;
            this.onState("live", "");
          }
        }
      }
    } finally {
      clearTimeout(silence);
    }
  }
}

/** @param {Response} response */
async function refusal(response) {
  const body = await response.json().catch(() => null);
  const error = isRecord(body) && isRecord(body.error) ? body.error : {};
  return new ApiError({
    code: typeof error.code === "string" ? error.code : "refused",
    message: typeof error.message === "string" ? error.message : `The center answered ${response.status}.`,
    status: response.status,
  });
}
