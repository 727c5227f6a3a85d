// The page's decisions about views are those of the platform: same questions, same answers.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";

import { Swap } from "../../console/js/watch/swap.js";
import { Viewer, angle, forms, seats } from "../../console/js/watch/view.js";

const vectors = JSON.parse(readFileSync(new URL("../vectors/view.json", import.meta.url), "utf8"));

test("every view, rendition and time is chosen as by the platform", () => {
  assert.ok(vectors.viewer.length >= 6);
  for (const { given, steps } of vectors.viewer) {
    const viewer = new Viewer(given.seats, given.forms, given.angle, given.lines, 0);
    for (const step of steps) {
      tell(viewer, step);
      const wish = viewer.pollWish();
      const where = `${given.seats.length} cameras at ${step.at} ms`;
      assert.deepEqual(wish, step.wish ?? null, where);
      assert.equal(viewer.pollTimeout(), step.next, where);
    }
  }
});

function tell(viewer, step) {
  if (step.gesture) viewer.handleGesture(step.gesture, step.at);
  else if (step.choice) viewer.handleChoice(step.choice, step.at);
  else if (step.live) viewer.handleLive(step.live, step.at);
  else if (step.window) viewer.handleWindow(step.window, step.at);
  else if (step.report) viewer.handleReport(step.report, step.at);
  else if (step.shown) viewer.handleShown(step.shown, step.at);
  else if (step.failure) viewer.handleFailure(step.failure, step.at);
  else viewer.handleTimeout(step.at);
}

test("views are swapped as by the platform", () => {
  assert.ok(vectors.swap.length >= 3);
  for (const { steps } of vectors.swap) {
    const swap = new Swap(0);
    for (const step of steps) {
      if (step.handle) swap.handleWish(step.handle, step.at);
      else if (step.frame) swap.handleFrame(step.frame, step.timestamp, step.at);
      else swap.handleTimeout(step.at);
      const actions = [];
      for (let action = swap.pollAction(); action; action = swap.pollAction()) actions.push(action);
      assert.deepEqual(actions, step.actions, `at ${step.at} ms`);
      assert.equal(swap.pollTimeout(), step.next, `at ${step.at} ms`);
    }
  }
});

test("an event becomes seats and forms", () => {
  const camera = (name, position, yaw_degrees) => ({ name, title: name, position, yaw_degrees, pitch_degrees: 0, field_of_view_degrees: 60 });
  const manifest = {
    center: [10, 0, 0],
    cameras: [camera("east", [30, 0, 2], 180), camera("north", [10, 20, 2], -90), camera("top", [10, 0, 30], 90)],
    renditions: [
      { name: "high", height: 720, max_fps: 30, bitrate_kbps: 2500, group_ms: 400 },
      { name: "low", height: 240, max_fps: 30, bitrate_kbps: 350, group_ms: 400 },
    ],
  };
  assert.deepEqual(seats(manifest).map((it) => it.bearing), [0, 90, -90]);
  const source = { name: "source", height: 480, bitrate: 1_500_000 };
  assert.deepEqual(forms(manifest, null).map((it) => it.name), ["high", "low"]);
  assert.deepEqual(forms(manifest, source).map((it) => it.name), ["source", "low"]);
  assert.deepEqual([-180, 190, 540, Number.NaN].map(angle), [180, -170, 180, 0]);
});
