// Starts a whole cloud (`selvedge dev`) and a real Chromium for the tests of the pages.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

import { chromium } from "playwright-core";

/** The binary under test. */
export const BINARY = process.env.SELVEDGE_BINARY ?? process.env.SELVEDGE_BIN ?? fileURLToPath(new URL("../../target/debug/selvedge", import.meta.url));
/** A folder to take the console from instead of the binary, while it is being written. */
const FILES = process.env.SELVEDGE_CONSOLE_DIR;
const CHROMIUM = process.env.CHROMIUM ?? ["/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"].find((it) => existsSync(it));
/** A debug build on a busy machine takes its time. */
const READY_LIMIT_MS = 90_000;
const STOP_LIMIT_MS = 10_000;
/** How long a page may take to get where a test waits for it. */
export const LIMIT_MS = 30_000;
const CHROMIUM_FLAGS = [
  "--no-sandbox",
  "--disable-gpu",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
  // A test's page is in the background as often as not, and is played all the same.
  "--disable-background-timer-throttling",
  "--disable-backgrounding-occluded-windows",
  "--disable-renderer-backgrounding",
  "--autoplay-policy=no-user-gesture-required",
  // Pages from a folder come from nowhere, and nowhere may not talk to this machine.
  ...(FILES ? ["--disable-features=LocalNetworkAccessChecks,LocalNetworkAccessChecksWebTransport,LocalNetworkAccessChecksWebSockets"] : []),
];

/**
 * Why these tests cannot run here, or false. Passed to `node:test` as `skip`.
 * @returns {string | false}
 */
export function missing() {
  if (!existsSync(BINARY)) return `there is no ${BINARY}: cargo build --bin selvedge`;
  if (!CHROMIUM) return "chromium is not installed";
  return false;
}

/** A running cloud. */
export class Cloud {
  /** @param {{args?: string[]}} [options] @returns {Promise<Cloud>} */
  static async start(options = {}) {
    const dir = mkdtempSync(path.join(tmpdir(), "selvedge-browser-"));
    const child = spawn(BINARY, ["dev", "--json", "--no-event", "--listen", "127.0.0.1:0", "--data-dir", path.join(dir, "data"), ...(options.args ?? [])], {
      stdio: ["ignore", "pipe", "pipe"],
      // The command line of whoever runs the tests must not find this cloud.
      env: { ...process.env, XDG_RUNTIME_DIR: dir, XDG_STATE_HOME: dir, XDG_CONFIG_HOME: dir },
    });
    const cloud = new Cloud(child, dir);
    try {
      cloud.ready = await cloud.untilReady();
    } catch (error) {
      await cloud.stop();
      throw error;
    }
    return cloud;
  }

  /** @param {import("node:child_process").ChildProcess} child @param {string} dir */
  constructor(child, dir) {
    this.child = child;
    this.dir = dir;
    this.stderr = "";
    this.exited = new Promise((resolve) => child.once("exit", resolve));
    child.stderr.on("data", (data) => {
      this.stderr = (this.stderr + data).slice(-20_000);
    });
    this.ready = null;
  }

  async untilReady() {
    const lines = createInterface({ input: this.child.stdout });
    const ready = new Promise((resolve) => {
      lines.on("line", (line) => {
        const event = JSON.parse(line);
        if (event.event === "ready") resolve(event);
      });
    });
    const ended = this.exited.then((code) => {
      throw new Error(`selvedge dev ended with ${code}:\n${this.stderr}`);
    });
    return Promise.race([ready, ended, deadline(READY_LIMIT_MS, () => `selvedge dev was not ready:\n${this.stderr}`)]);
  }

  /** The console's address with the operator's token. */
  get console() {
    return this.ready.console;
  }

  /** Where an app is played. @param {string} app @param {string} [query] */
  play(app, query = "") {
    return `${this.ready.center}/play/${app}${query}`;
  }

  /** Where an event is watched. @param {string} event @param {string} [query] */
  watch(event, query = "") {
    return `${this.ready.center}/watch/${event}${query}`;
  }

  /** Calls the API as the operator. @param {string} method @param {string} path @param {unknown} [body] */
  async api(method, path, body) {
    const response = await fetch(new URL(path, this.ready.center), {
      method,
      headers: { authorization: `Bearer ${this.ready.token}`, "content-type": "application/json" },
      body: body === undefined ? undefined : JSON.stringify(body),
    });
    const text = await response.text();
    assert.ok(response.ok, `${method} ${path}: ${response.status} ${text}`);
    return text === "" ? undefined : JSON.parse(text);
  }

  /**
   * Deploys the test program under a name of its own: it counts keys, shows the pointer and, animated, never rests.
   * @param {string} name
   * @param {{onMove?: "stay" | "restart", animate?: boolean, resizable?: boolean, graceSecs?: number, args?: string[], input?: string}} [options]
   *   `args` are the program's, `input` is what its manifest says of input.
   */
  async deployProbe(name, { onMove = "stay", animate = true, resizable = false, graceSecs = 60, args = [], input = "" } = {}) {
    const command = ["selvedge-probe", ...(animate ? ["--animate"] : []), ...args];
    const manifest = `
      name = "${name}"
      kind = "stream"
      command = ${JSON.stringify(command)}
      requires = ["selvedge-probe"]
      [screen]
      width = 1280
      height = 720
      content = "text"
      resizable = ${resizable}
      [resources]
      cpu = 0.1
      memory = "64MB"
      [session]
      on_move = "${onMove}"
      reconnect_grace_secs = ${graceSecs}
      [access]
      public = true
      ${input}
    `;
    await this.api("POST", "/v1/apps", { manifest });
  }

  /** What the app of a page has printed. @param {import("playwright-core").Page} page @returns {Promise<string[]>} */
  async printed(page) {
    const { lines } = await this.api("GET", `/v1/sessions/${await page.evaluate(() => window.selvedge.state().session)}/logs`);
    return lines;
  }

  /** Whether an app is deployed. @param {string} name */
  async has(name) {
    const { items } = await this.api("GET", "/v1/apps");
    return items.some((app) => app.name === name && app.sites.length > 0);
  }

  /** Whether the process has gone, within a time. */
  async stop() {
    if (this.child.exitCode === null && this.child.signalCode === null) {
      this.child.kill("SIGTERM");
      await Promise.race([this.exited, deadline(STOP_LIMIT_MS, () => "selvedge dev does not end")]).catch(() => this.child.kill("SIGKILL"));
    }
    rmSync(this.dir, { recursive: true, force: true, maxRetries: 5 });
  }
}

/** Starts the browser. */
export function openBrowser() {
  return chromium.launch({ executablePath: CHROMIUM, headless: true, args: CHROMIUM_FLAGS });
}

/**
 * A fresh browser profile whose pages tell of their faults.
 * @param {import("playwright-core").Browser} browser
 * @param {import("playwright-core").BrowserContextOptions} [options]
 */
export async function newProfile(browser, options = {}) {
  const context = await browser.newContext({ viewport: { width: 1300, height: 800 }, ...options });
  const faults = [];
  context.on("weberror", (error) => faults.push(String(error.error().stack ?? error.error())));
  if (FILES) await serveFromDisk(context);
  context.on("page", (page) => page.on("request", (request) => faultOfRequest(request, faults)));
  return { context, faults };
}

/**
 * Runs a test in a browser profile of its own, and asserts that the pages had no fault.
 * @param {import("playwright-core").Browser} browser
 * @param {(context: import("playwright-core").BrowserContext) => Promise<void>} run
 * @param {import("playwright-core").BrowserContextOptions} [options]
 */
export async function withProfile(browser, run, options) {
  const { context, faults } = await newProfile(browser, options);
  try {
    await run(context);
    assert.deepEqual(faults, []);
  } finally {
    // An app that nobody leaves waits for its terminal, and takes a place.
    for (const page of context.pages()) await page.evaluate(() => window.selvedge?.end?.()).catch(() => undefined);
    await context.close();
  }
}

/**
 * Answers the pages' files from a folder, so that who writes them need not build the binary for every change.
 * @param {import("playwright-core").BrowserContext} context
 */
async function serveFromDisk(context) {
  const fileOf = ({ pathname }) => (pathname === "/" ? "index.html" : pathname.startsWith("/play/") ? "play.html" : pathname.startsWith("/watch/") ? "watch.html" : pathname.startsWith("/console/") ? pathname.slice("/console/".length) : null);
  await context.route((url) => fileOf(url) !== null, (route) => route.fulfill({ path: path.join(FILES, fileOf(new URL(route.request().url()))) }));
}

/** Pages may talk to this machine only. */
function faultOfRequest(request, faults) {
  const { hostname, protocol } = new URL(request.url());
  if (protocol.startsWith("http") && hostname !== "127.0.0.1" && hostname !== "localhost") faults.push(`asked ${request.url()}`);
}

/**
 * Waits until a function in the page answers something true, and returns it.
 * @param {import("playwright-core").Page} page
 * @param {Function | string} condition
 * @param {unknown} [argument]
 * @param {number} [limitMs]
 */
export async function until(page, condition, argument, limitMs = LIMIT_MS) {
  try {
    const handle = await page.waitForFunction(condition, argument, { timeout: limitMs, polling: 25 });
    return await handle.jsonValue();
  } catch (error) {
    const state = await page.evaluate(() => JSON.stringify(window.selvedge ? { state: window.selvedge.state(), stats: window.selvedge.stats() } : document.title)).catch(() => "the page is gone");
    throw new Error(`not within ${limitMs} ms: ${condition}\n${state}\n${error}`);
  }
}

/** Opens an app in a city and waits for its picture. */
export async function play(context, cloud, app, { city = "Berlin", query = "" } = {}) {
  const page = await context.newPage();
  await page.addInitScript(
    ({ city, places }) => {
      if (!localStorage.getItem("selvedge.place")) localStorage.setItem("selvedge.place", JSON.stringify(places.find(({ name }) => name === city)));
    },
    { city, places: (await cloud.api("GET", "/v1/places")).items },
  );
  await page.goto(cloud.play(app, query));
  await shown(page);
  // The first picture may be of the empty screen, before the program has its window and with it the keys.
  if (app.startsWith("probe")) await untilProbe(page, ({ rgb: [, green, blue] }) => Math.max(green, blue) > 60);
  return page;
}

/** Waits for the first picture. */
export function shown(page) {
  return until(page, () => window.selvedge?.state().state === "playing" && window.selvedge.stats().frames > 0);
}

/**
 * What the test program's picture says: its key counter, the colour below, and how bright the middle of the pointer is.
 * @param {import("playwright-core").Page} page
 */
export function readProbe(page) {
  return page.evaluate(probeInPage);
}

/** Runs in the page. The counter is 16 blocks of 32 by 32 pixels along the top, least significant bit first. */
export function probeInPage() {
  // The app's own pixels; the picture may be smaller on a slow machine.
  const { width, height } = window.selvedge.state().hello;
  const at = (x, y) => window.selvedge.pixel(x / (width - 1), y / (height - 1));
  const white = ([red, green, blue]) => red + green + blue > 382;
  let keys = 0;
  for (let bit = 0; bit < 16; bit += 1) if (white(at(bit * 32 + 16, 16))) keys += 2 ** bit;
  const [red, green, blue] = at(width / 2, height - 8);
  // Dark blue is even, green is odd.
  const colour = green > blue ? "odd" : "even";
  return { keys, colour, rgb: [red, green, blue], held: white(at(16 * 32 + 16, 16)), wheel: white(at(17 * 32 + 16, 16)) ? 1 : 0 };
}

/** Presses a key once and waits until the picture has counted it. Returns how long that took by the page's measure. */
export async function pressAndSee(page, key) {
  const before = await readProbe(page);
  await page.keyboard.press(key);
  try {
    await untilProbe(page, (probe) => probe.keys === before.keys + 1);
  } catch (error) {
    const said = await page.evaluate(() => JSON.stringify({ state: window.selvedge.state(), stats: window.selvedge.stats(), focus: document.activeElement?.id }));
    throw new Error(`${error.message}\n${said}`);
  }
  return page.evaluate(() => window.selvedge.stats().last_latency);
}

/**
 * Waits until the test program's picture says something.
 * @param {import("playwright-core").Page} page
 * @param {(probe: ReturnType<typeof probeInPage>) => boolean} condition
 */
export async function untilProbe(page, condition, limitMs = LIMIT_MS) {
  const end = Date.now() + limitMs;
  for (;;) {
    const probe = await readProbe(page);
    if (condition(probe)) return probe;
    assert.ok(Date.now() < end, `not within ${limitMs} ms: ${condition}, the picture says ${JSON.stringify(probe)}`);
    await new Promise((resolve) => setTimeout(resolve, 25));
  }
}

/** @param {number} ms @param {() => string} what @returns {Promise<never>} */
function deadline(ms, what) {
  return new Promise((_, reject) => {
    setTimeout(() => reject(new Error(what())), ms).unref();
  });
}
