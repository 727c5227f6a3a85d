// The console in a real browser against a real cloud.

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";

import { Cloud, LIMIT_MS, missing, newProfile, openBrowser, play, pressAndSee, until } from "./harness.mjs";

describe("the console", { skip: missing(), timeout: 300_000 }, () => {
  /** @type {Cloud} */
  let cloud;
  /** @type {import("playwright-core").Browser} */
  let browser;
  /** @type {import("playwright-core").BrowserContext} */
  let context;
  let faults;

  before(async () => {
    cloud = await Cloud.start();
    browser = await openBrowser();
    await cloud.deployProbe("probe-stay");
    await cloud.deployProbe("probe-restart", { onMove: "restart" });
    ({ context, faults } = await newProfile(browser));
  });

  after(async () => {
    await browser?.close();
    await cloud?.stop();
  });

  /** Opens the console. */
  async function open(path = "") {
    const page = await context.newPage();
    await page.goto(cloud.console);
    await page.getByText("live", { exact: true }).waitFor({ timeout: LIMIT_MS });
    if (path) await page.goto(new URL(`/#${path}`, cloud.ready.center).href);
    return page;
  }

  test("takes the token out of the address, and asks for one without", async () => {
    const page = await open();
    assert.ok(!page.url().includes("token"), page.url());
    await page.reload();
    await page.getByText("live", { exact: true }).waitFor();
    const stranger = await browser.newContext();
    const other = await stranger.newPage();
    await other.goto(cloud.ready.center);
    await other.getByRole("heading", { name: "A token is needed" }).waitFor();
    await other.getByLabel("Operator token").fill(cloud.ready.token);
    await other.getByRole("button", { name: "Continue" }).click();
    await other.getByText("live", { exact: true }).waitFor();
    await stranger.close();
    await page.close();
  });

  test("shows the sites with their links, and the apps", async () => {
    const page = await open();
    for (const name of ["Frankfurt", "Shanghai", "São Paulo"]) await page.getByRole("button", { name: new RegExp(`^Site ${name}`) }).waitFor();
    // Three pairs, once they have measured each other.
    await until(page, () => document.querySelectorAll(".link").length === 3);
    await until(page, () => [...document.querySelectorAll(".link text")].every((text) => /^\d+ ms$/.test(text.textContent)));
    await page.getByRole("heading", { name: "probe-stay" }).waitFor();
    await page.getByRole("link", { name: /^Sites/ }).click();
    await page.getByRole("link", { name: "Frankfurt" }).click();
    await page.getByText(/cores and .* free/).waitFor();
    await page.close();
  });

  test("follows a session: its arc, numbers, reasons and log, and ends it", async () => {
    const player = await play(context, cloud, "probe-stay", { city: "Berlin" });
    const { session } = await player.evaluate(() => window.selvedge.state());
    const page = await open(`/sessions/${session}`);
    await page.getByText("Berlin → Frankfurt").waitFor();
    await until(page, () => document.querySelectorAll(".arc").length === 1);
    await until(page, () => Number.parseInt(document.querySelector('[data-field="pictures"]').textContent, 10) > 0);
    await until(page, () => document.querySelectorAll(".decisions > li").length === 1 && document.querySelectorAll(".passed > li").length === 2);
    await page.locator(".log").filter({ hasText: /\S/ }).waitFor();
    await page.getByRole("button", { name: "Close this session" }).click();
    await page.getByRole("button", { name: /Really close/ }).click();
    await until(player, () => window.selvedge.state().stopped);
    await page.getByText("This session is over").waitFor();
    await until(page, () => document.querySelectorAll(".arc").length === 0);
    await Promise.all([page.close(), player.close()]);
  });

  test("a terminal dragged to another city is served from there", async () => {
    const player = await play(context, cloud, "probe-restart", { city: "Berlin" });
    const { session } = await player.evaluate(() => window.selvedge.state());
    const page = await open(`/sessions/${session}`);
    await page.getByText("Berlin → Frankfurt").waitFor();
    await drag(page, `[data-key="${session}"]`, "Tokyo");
    await page.getByText("Tokyo → Shanghai").waitFor({ timeout: LIMIT_MS });
    await until(player, () => window.selvedge.state().host_site === "shanghai");
    assert.equal(await player.evaluate(() => window.selvedge.state().session), session);
    await pressAndSee(player, "a");
    // The keyboard's way.
    await page.getByLabel("The terminal is in").selectOption("Buenos Aires");
    await page.getByText("Buenos Aires → São Paulo").waitFor({ timeout: LIMIT_MS });
    await until(player, () => window.selvedge.state().host_site === "sao-paulo");
    await player.evaluate(() => window.selvedge.end());
    await Promise.all([page.close(), player.close()]);
  });

  test("I am somewhere else: the open players of this browser follow", async () => {
    const player = await play(context, cloud, "probe-stay", { city: "Berlin" });
    const { session } = await player.evaluate(() => window.selvedge.state());
    const page = await open("/sessions");
    await page.bringToFront();
    await drag(page, '[data-key="me"]', "Tokyo");
    await until(player, () => window.selvedge.state().entry_site === "shanghai");
    const state = await player.evaluate(() => window.selvedge.state());
    assert.deepEqual([state.session, state.host_site, state.place], [session, "frankfurt", "Tokyo"]);
    await page.getByText("Tokyo → Shanghai → Frankfurt").waitFor();
    await page.getByLabel("I am in").selectOption("Berlin");
    await until(player, () => window.selvedge.state().entry_site === "frankfurt");
    await player.evaluate(() => window.selvedge.end());
    await Promise.all([page.close(), player.close()]);
  });

  test("says when the center is away, and goes on when it is back", async () => {
    const page = await open();
    process.kill(cloud.ready.pids.center, "SIGKILL");
    await page.getByText("the center is away, trying again").waitFor({ timeout: LIMIT_MS });
    await page.getByText("live", { exact: true }).waitFor({ timeout: 60_000 });
    await page.getByRole("heading", { name: "probe-stay" }).waitFor();
    await page.close();
  });

  test("no page had a fault or asked another host", () => {
    assert.deepEqual(faults, []);
  });
});

/** Drags a marker of the map to a city. */
async function drag(page, marker, city) {
  const from = await page.locator(`.terminal${marker}`).boundingBox();
  const to = await page.evaluate(async (city) => {
    const { project } = await import("/console/js/console/projection.js");
    const place = window.selvedgeConsole.cloud.places.find(({ name }) => name === city);
    const { x, y } = project(place.position);
    const point = new DOMPoint(x, y).matrixTransform(document.querySelector(".world").getScreenCTM());
    return { x: point.x, y: point.y };
  }, city);
  await page.mouse.move(from.x + from.width / 2, from.y + from.height / 2);
  await page.mouse.down();
  await page.mouse.move(to.x + 2, to.y + 2, { steps: 6 });
  await page.mouse.up();
}
