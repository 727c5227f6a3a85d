// The player in a real browser against a real cloud: a picture, keys, other cities, the way back, faults.

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";

import { Cloud, missing, openBrowser, play, pressAndSee, readProbe, shown, until, untilProbe, withProfile } from "./harness.mjs";

/** The longest time without a new picture that a change of place may cost. */
const GAP_LIMIT_MS = 300;
/** From the death of a node to a picture from another. */
const RESCUE_LIMIT_MS = 5_000;

describe("the player", { skip: missing(), timeout: 600_000 }, () => {
  /** @type {Cloud} */
  let cloud;
  /** @type {import("playwright-core").Browser} */
  let browser;

  before(async () => {
    cloud = await Cloud.start();
    browser = await openBrowser();
    await cloud.deployProbe("probe-stay", { onMove: "stay" });
    await cloud.deployProbe("probe-restart", { onMove: "restart" });
    await cloud.deployProbe("probe-still", { animate: false, resizable: true });
  });

  after(async () => {
    await browser?.close();
    await cloud?.stop();
  });

  const inProfile = (run, options) => () => withProfile(browser, run, options);

  test(
    "shows the app of the nearest site, and a key changes the picture",
    inProfile(async (context) => {
      const page = await play(context, cloud, "probe-stay", { city: "Berlin" });
      const state = await page.evaluate(() => window.selvedge.state());
      assert.equal(state.transport, "webtransport");
      assert.equal(state.host_site, "frankfurt");
      assert.equal(state.entry_site, "frankfurt");
      assert.equal(state.hello.app, "probe-stay");
      assert.equal((await readProbe(page)).colour, "even");
      const latency = await pressAndSee(page, "a");
      assert.equal((await readProbe(page)).colour, "odd");
      assert.ok(latency.ms > 0 && latency.ms < 2_000, `${latency.ms} ms`);
      await pressAndSee(page, "Enter");
      assert.equal((await readProbe(page)).colour, "even");
      const stats = await until(page, () => window.selvedge.stats().round_trip_ms !== null && window.selvedge.stats().fps > 5 && window.selvedge.stats());
      assert.ok(stats.bitrate_bps > 0);
      assert.deepEqual([stats.width, stats.height], [1280, 720]);
    }),
  );

  test(
    "brings the pointer, its buttons and the wheel to where they belong",
    inProfile(async (context) => {
      const page = await play(context, cloud, "probe-stay");
      const box = await page.locator("#screen").boundingBox();
      const at = { x: box.x + box.width * 0.75, y: box.y + box.height * 0.6 };
      await page.mouse.move(at.x, at.y);
      await until(page, crossIsAt, { x: 0.75, y: 0.6 });
      await page.mouse.down();
      await untilProbe(page, (probe) => probe.held);
      await page.mouse.up();
      await untilProbe(page, (probe) => !probe.held);
      await page.mouse.wheel(0, 100);
      await untilProbe(page, (probe) => probe.wheel === 1);
    }),
  );

  test(
    "stays with its app when the terminal moves: the same counter by another entry, without a gap",
    inProfile(async (context) => {
      const page = await play(context, cloud, "probe-stay", { city: "Berlin" });
      for (const key of ["a", "b", "c"]) await pressAndSee(page, key);
      const before = await page.evaluate(() => window.selvedge.state());
      await page.evaluate(() => window.selvedge.resetGaps());
      await page.getByLabel("I am in").selectOption("Tokyo");
      await until(page, () => window.selvedge.state().entry_site === "shanghai");
      await framesMore(page, 20);
      const after = await page.evaluate(() => window.selvedge.state());
      assert.equal(after.session, before.session);
      assert.equal(after.epoch, before.epoch);
      assert.equal(after.host_site, "frankfurt");
      assert.equal((await readProbe(page)).keys, 3);
      await assertNoGap(page);
      await pressAndSee(page, "d");
      const offer = await until(page, () => window.selvedge.state().offer);
      assert.equal(offer.site, "shanghai");
      assert.ok(offer.here_ms > offer.there_ms);
      await page.getByRole("button", { name: /^Move to/ }).click();
      await until(page, () => window.selvedge.state().host_site === "shanghai");
      assert.equal((await page.evaluate(() => window.selvedge.state())).session, before.session);
      assert.equal((await readProbe(page)).keys, 0, "the app began anew");
    }),
  );

  test(
    "starts anew near the terminal when the app says so: the same session at another site, without a gap",
    inProfile(async (context) => {
      const page = await play(context, cloud, "probe-restart", { city: "Berlin" });
      await pressAndSee(page, "a");
      const before = await page.evaluate(() => window.selvedge.state());
      await page.evaluate(() => window.selvedge.resetGaps());
      await page.evaluate(() => window.selvedge.move("Buenos Aires"));
      await until(page, () => window.selvedge.state().host_site === "sao-paulo");
      await framesMore(page, 20);
      const after = await page.evaluate(() => window.selvedge.state());
      assert.equal(after.session, before.session);
      assert.ok(after.epoch > before.epoch);
      assert.equal(after.entry_site, "sao-paulo");
      await assertNoGap(page);
      await pressAndSee(page, "a");
    }),
  );

  test(
    "finds the same instance again after its page was closed",
    inProfile(async (context) => {
      const page = await play(context, cloud, "probe-stay");
      for (const key of ["a", "b"]) await pressAndSee(page, key);
      const { session, epoch } = await page.evaluate(() => window.selvedge.state());
      await page.close();
      const again = await play(context, cloud, "probe-stay");
      const state = await again.evaluate(() => window.selvedge.state());
      assert.deepEqual([state.session, state.epoch], [session, epoch]);
      await untilProbe(again, (probe) => probe.keys === 2);
      await again.reload();
      await shown(again);
      await untilProbe(again, (probe) => probe.keys === 2);
    }),
  );

  test(
    "plays over a WebSocket where WebTransport is missing",
    inProfile(async (context) => {
      const page = await play(context, cloud, "probe-stay", { query: "?transport=websocket" });
      assert.equal((await page.evaluate(() => window.selvedge.state())).transport, "websocket");
      await pressAndSee(page, "a");
    }),
  );

  test(
    "asks a resizable app for the size of the window",
    inProfile(async (context) => {
      const page = await play(context, cloud, "probe-still");
      await page.setViewportSize({ width: 1000, height: 700 });
      const size = await until(page, () => {
        const { width, height } = window.selvedge.stats();
        const stage = document.getElementById("stage");
        return width === (stage.clientWidth & ~1) && height === (stage.clientHeight & ~1) && { width, height };
      });
      assert.equal(size.width, 1000);
      await pressAndSee(page, "a");
    }),
  );

  test(
    "fits a phone: tools within reach, a finger is a pointer",
    inProfile(
      async (context) => {
        const page = await play(context, cloud, "probe-stay");
        const box = await page.locator("#screen").boundingBox();
        assert.ok(box.width <= 390);
        for (const name of ["Keyboard", "Fullscreen", "Close the app"]) {
          const button = await page.getByRole("button", { name, exact: true }).boundingBox();
          assert.ok(button && button.x >= 0 && button.x + button.width <= 390, name);
        }
        await page.touchscreen.tap(box.x + box.width * 0.25, box.y + box.height * 0.7);
        await until(page, crossIsAt, { x: 0.25, y: 0.7 });
      },
      { viewport: { width: 390, height: 780 }, deviceScaleFactor: 2, isMobile: true, hasTouch: true },
    ),
  );

  test(
    "says in words what is wrong: no such app, a wrong certificate, a token of another session",
    inProfile(async (context) => {
      const unknown = await context.newPage();
      await unknown.goto(cloud.play("nosuch"));
      await unknown.getByText("“nosuch” is not open to everyone, or not here").waitFor();
      await unknown.goto(cloud.play("nosuch", `#token=${cloud.ready.token}`));
      await unknown.reload();
      await unknown.getByText("There is no app called “nosuch” here").waitFor();
      assert.match(await stoppedBy(context, (ticket) => ({ ...ticket, entry: { ...ticket.entry, certificate_sha256: "ab".repeat(32), websocket: undefined } })), /prove who it is/);
      const other = await cloud.api("POST", "/v1/sessions", { app: "probe-stay", terminal: {} });
      assert.match(await stoppedBy(context, (ticket) => ({ ...ticket, token: other.ticket.token, entry: { ...ticket.entry, websocket: undefined } })), /sends no picture|did not let us in/);
      await cloud.api("DELETE", `/v1/sessions/${other.session}`);
      assert.match(await stoppedBy(context, (ticket) => ({ ...ticket, token: "garbage", entry: { ...ticket.entry, websocket: undefined } })), /did not let us in/);
    }),
  );

  test(
    "is told when somebody closes its session",
    inProfile(async (context) => {
      const page = await play(context, cloud, "probe-stay");
      const { session } = await page.evaluate(() => window.selvedge.state());
      await cloud.api("DELETE", `/v1/sessions/${session}`);
      const words = await until(page, () => window.selvedge.state().stopped);
      assert.match(words.title, /closed/);
      await page.getByRole("button", { name: "Start again" }).click();
      await shown(page);
      assert.notEqual((await page.evaluate(() => window.selvedge.state())).session, session);
    }),
  );

  test(
    "plays Doom: the picture changes by itself and on a key",
    inProfile(async (context) => {
      // The deployment says why where the game is not installed.
      const app = cloud.ready.apps.find(({ name }) => name === "doom");
      if (!app?.deployed) return;
      const page = await play(context, cloud, "doom");
      const first = await signature(page);
      await until(page, signatureDiffers, first);
      await page.keyboard.press("Escape");
      await page.evaluate(() => window.selvedge.resetGaps());
      const answered = await until(page, () => window.selvedge.stats().last_latency);
      assert.ok(answered.ms < 2_000, `${answered.ms} ms`);
      const { sound } = await page.evaluate(() => window.selvedge.state().hello);
      if (sound.available) await until(page, () => window.selvedge.stats().sound.on && window.selvedge.stats().sound.packets > 50);
      else assert.ok(sound.why.length > 0, "who hears nothing is told why");
    }),
  );

  test(
    "keeps its picture while the center is dead and when it is back",
    inProfile(async (context) => {
      const page = await play(context, cloud, "probe-stay");
      await pressAndSee(page, "a");
      await page.evaluate(() => window.selvedge.resetGaps());
      process.kill(cloud.ready.pids.center, "SIGKILL");
      await framesMore(page, 60);
      await pressAndSee(page, "b");
      await assertNoGap(page, 1_000);
      await untilHealthy(cloud);
      await pressAndSee(page, "c");
      assert.equal((await page.evaluate(() => window.selvedge.state())).state, "playing");
    }),
  );

  test(
    "is on another node within seconds after its own was killed, and is told so",
    inProfile(async (context) => {
      const page = await play(context, cloud, "probe-stay", { city: "Berlin" });
      const state = await page.evaluate(() => window.selvedge.state());
      const { pid, title } = cloud.ready.sites.find(({ name }) => name === state.host_site);
      await page.evaluate(() => {
        window.selvedge.resetGaps();
        // What happened and when, for whoever reads a failure.
        window.story = [];
        const began = performance.now();
        setInterval(() => {
          const { state, epoch, host_site, entry_site, changing, banner } = window.selvedge.state();
          const line = [state, epoch, host_site, entry_site, changing ? "changing" : "", banner].join(" | ");
          if (window.story.at(-1)?.line !== line) window.story.push({ at: Math.round(performance.now() - began), line });
        }, 20);
      });
      process.kill(pid, "SIGKILL");
      // Elsewhere, or anew on its own node if that was quicker to come back.
      await until(page, (epoch) => window.selvedge.state().epoch > epoch && window.selvedge.state().state === "playing", state.epoch);
      await framesMore(page, 5);
      const { max_gap_ms: gap } = await page.evaluate(() => window.selvedge.stats());
      const story = JSON.stringify(await page.evaluate(() => window.story), null, 1);
      assert.ok(gap < RESCUE_LIMIT_MS, `${Math.round(gap)} ms without a picture: ${story}`);
      assert.equal((await page.evaluate(() => window.selvedge.state())).session, state.session);
      assert.ok(story.includes(`The connection to ${title} was lost`), story);
      await pressAndSee(page, "a");
    }),
  );

  /** Opens the app with a ticket that was changed on its way, and answers what the page says. */
  async function stoppedBy(context, change) {
    const page = await context.newPage();
    await page.addInitScript(() => localStorage.removeItem("selvedge.session.probe-stay"));
    await page.route("**/v1/sessions", async (route) => {
      const response = await route.fetch();
      const created = await response.json();
      await route.fulfill({ response, json: { ...created, ticket: change(created.ticket) } });
    });
    await page.goto(cloud.play("probe-stay"));
    const words = await until(page, () => window.selvedge.state().stopped, undefined, 60_000);
    await page.close();
    return words.title;
  }
});

/** Waits for so many more pictures. */
async function framesMore(page, count) {
  const { frames } = await page.evaluate(() => window.selvedge.stats());
  await until(page, (wanted) => window.selvedge.stats().frames >= wanted, frames + count);
}

async function assertNoGap(page, limit = GAP_LIMIT_MS) {
  const { max_gap_ms: gap } = await page.evaluate(() => window.selvedge.stats());
  assert.ok(gap <= limit, `${Math.round(gap)} ms without a new picture`);
}

/** Runs in the page. The arms of the test program's cross are white, its middle is left free. */
function crossIsAt({ x, y }) {
  // A point of the window is more than a pixel of the program, or less.
  return [-2, -1, 0, 1, 2].some((row) => window.selvedge.pixel(x + 12 / 1280, y + row / 720).every((part) => part > 150));
}

/** A few dozen pixels of the picture. */
function signature(page) {
  return page.evaluate(() => {
    const parts = [];
    for (let y = 1; y < 8; y += 1) for (let x = 1; x < 8; x += 1) parts.push(...window.selvedge.pixel(x / 8, y / 8));
    return parts;
  });
}

/** Runs in the page. */
function signatureDiffers(first) {
  let differing = 0;
  let i = 0;
  for (let y = 1; y < 8; y += 1) {
    for (let x = 1; x < 8; x += 1) {
      const now = window.selvedge.pixel(x / 8, y / 8);
      if (now.some((part, channel) => Math.abs(part - first[i + channel]) > 24)) differing += 1;
      i += 3;
    }
  }
  return differing >= 5;
}

/** Waits until the center answers again. */
async function untilHealthy(cloud) {
  const end = Date.now() + 30_000;
  for (;;) {
    const healthy = await fetch(new URL("/readyz", cloud.ready.center)).then(({ ok }) => ok, () => false);
    if (healthy) return;
    assert.ok(Date.now() < end, "the center did not come back");
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}
