// The terminal's side of the protocol: messages in, events and reports out, measurements, sound.

import assert from "node:assert/strict";
import { test } from "node:test";

import { EventQueue, pieces } from "../../console/js/player/events.js";
import { pressed } from "../../console/js/player/gamepad.js";
import { placeOf } from "../../console/js/player/keys.js";
import { JitterBuffer } from "../../console/js/player/jitter.js";
import { InputLatency } from "../../console/js/player/measure.js";
import { broadcastNames, readPong, readStatus, wayOf, writeJson } from "../../console/js/player/protocol.js";
import { Gaps, Rate, percentile } from "../../console/js/shared/measure.js";
import { ReceiptReport } from "../../console/js/shared/report.js";
import { moqUrl, websocketUrl } from "../../console/js/shared/transport.js";

const ticket = {
  session: "1f3a",
  epoch: 2,
  app: "probe",
  host_site: "frankfurt",
  entry: { site: "frankfurt", node: "b2", address: "127.0.0.1:4433", websocket: "ws://127.0.0.1:4433/moq" },
  token: "a/b+c=",
  expires_unix_ms: 1,
  round_trip_ms: 12,
};

test("names and addresses follow from the ticket", () => {
  assert.deepEqual(broadcastNames(ticket, "c0ffee"), { screen: "s/1f3a/2/screen", input: "s/1f3a/2/input/c0ffee" });
  assert.equal(moqUrl(wayOf(ticket)).href, "https://127.0.0.1:4433/moq?token=a%2Fb%2Bc%3D");
  assert.equal(websocketUrl(wayOf(ticket)).searchParams.get("token"), "a/b+c=");
  assert.equal(websocketUrl({ ...ticket, entry: { ...ticket.entry, websocket: undefined } }), null);
});

test("a greeting is read, with what is missing taken as not there", () => {
  const status = readStatus(writeJson({ t: "hello", site: "x", app: "probe", width: 4, height: 2, input: "touch", relative_pointer: true, sound: { available: false, why: "no" } }));
  assert.equal(status.t, "hello");
  assert.equal(status.hello.input, "touch");
  assert.equal(status.hello.relativePointer, true);
  assert.equal(status.hello.resizable, false);
  assert.deepEqual(status.hello.sound, { available: false, why: "no" });
  assert.equal(status.hello.title, "probe");
});

test("a ticket must be one, and strangers' messages are passed over", () => {
  assert.deepEqual(readStatus(writeJson({ t: "ticket", ticket, why: "you moved" })), { t: "ticket", ticket, why: "you moved", offer: null });
  assert.equal(readStatus(writeJson({ t: "ticket", ticket: { session: 5 } })), null);
  assert.equal(readStatus(writeJson({ t: "weather" })), null);
  assert.equal(readStatus(new TextEncoder().encode("{")), null);
  assert.equal(readStatus(new TextEncoder().encode("[]")), null);
  assert.equal(readPong(writeJson({ id: "x", at: 1 })), null);
  assert.deepEqual(readPong(writeJson({ id: 3, at: 1.5 })), { id: 3, at: 1.5 });
});

test("motion is gathered, and a press never overtakes it", () => {
  const queue = new EventQueue();
  queue.handleMove(0.1, 0.1);
  queue.handleMove(0.5, 2);
  queue.handleDiscrete({ t: "button", button: 0, down: true, x: 0.5, y: 1 });
  assert.deepEqual(queue.takeFrame(), [
    { t: "move", seq: 1, x: 0.5, y: 1 },
    { t: "button", seq: 2, button: 0, down: true, x: 0.5, y: 1 },
  ]);
  assert.equal(queue.takeFrame(), null);
});

test("relative motion and wheels add up", () => {
  const queue = new EventQueue();
  queue.handleRelative(2, -1);
  queue.handleRelative(3, 0.5);
  queue.handleWheel(0, 0.25);
  queue.handleWheel(0, 0.25);
  assert.deepEqual(queue.takeFrame(), [
    { t: "relative", seq: 1, dx: 5, dy: -0.5 },
    { t: "wheel", seq: 2, dx: 0, dy: 0.5 },
  ]);
});

test("a release has no number, and numbers go on after it", () => {
  const queue = new EventQueue();
  queue.handleDiscrete({ t: "key", code: "KeyW", down: true });
  queue.handleDiscrete({ t: "release" });
  queue.handleDiscrete({ t: "key", code: "KeyW", down: true });
  assert.deepEqual(
    queue.takeFrame().map(({ t, seq }) => [t, seq]),
    [["key", 1], ["release", undefined], ["key", 2]],
  );
});

test("long text goes in pieces that the edge takes, never inside a character", () => {
  const text = "é".repeat(1_000) + "\u{1f9f5}".repeat(300);
  const cut = pieces(text, 1_024);
  assert.equal(cut.join(""), text);
  for (const piece of cut) assert.ok(Buffer.byteLength(piece) <= 1_024);
});

test("a report counts its window and compares with the best of ten seconds", () => {
  const report = new ReceiptReport(0);
  // Frames captured every 20 ms arrive 50 ms later, the last ones 30 ms later still.
  for (let i = 0; i < 10; i += 1) report.handleFrame(50 + i * 20, i * 20_000, 1_000);
  const first = report.finish(200, { decodeQueue: 2, roundTripMs: 31.27 });
  assert.deepEqual(first, { t: "report", received: 10, lost: 0, late_ms: 0, decode_queue: 2, round_trip_ms: 31.3, window_ms: 200, bytes: 10_000 });
  for (let i = 10; i < 20; i += 1) report.handleFrame(80 + i * 20, i * 20_000, 1_000);
  report.handleLoss(3);
  const second = report.finish(400, { decodeQueue: 0, roundTripMs: NaN });
  assert.equal(second.late_ms, 30);
  assert.equal(second.lost, 3);
  assert.equal(second.round_trip_ms, 0);
  // Eleven seconds on the early arrivals are forgotten: this is what the way takes now.
  report.handleFrame(11_480, 11_400_000, 500);
  assert.equal(report.finish(11_500, { decodeQueue: 0, roundTripMs: 1 }).late_ms, 0);
});

test("a report without frames is whole numbers and no NaN", () => {
  const report = new ReceiptReport(0).finish(200, { decodeQueue: 0, roundTripMs: NaN });
  assert.deepEqual(JSON.parse(JSON.stringify(report)), { t: "report", received: 0, lost: 0, late_ms: 0, decode_queue: 0, round_trip_ms: 0, window_ms: 200, bytes: 0 });
});

test("input to picture is measured at the first picture that has seen the event", () => {
  const latency = new InputLatency();
  latency.handleSent(1, 100);
  latency.handleSent(2, 110);
  latency.handleDrawn(0, 115);
  latency.handleDrawn(1, 130);
  assert.deepEqual(latency.last, { seq: 1, ms: 30 });
  latency.handleDrawn(9, 150);
  assert.deepEqual(latency.last, { seq: 2, ms: 40 });
  // A key that changed nothing is not a slow one.
  latency.handleSent(10, 200);
  latency.handleDrawn(10, 9_000);
  assert.deepEqual(latency.last, { seq: 2, ms: 40 });
});

test("the longest gap outlives a reset only as the present wait", () => {
  const gaps = new Gaps();
  for (const at of [0, 30, 330, 360]) gaps.handleDrawn(at);
  assert.equal(gaps.max, 300);
  gaps.reset();
  gaps.handleDrawn(400);
  assert.equal(gaps.max, 40);
  assert.equal(gaps.frames, 5);
});

test("rates and percentiles", () => {
  const rate = new Rate(2_000);
  for (let at = 0; at < 4_000; at += 50) rate.add(at, 1);
  assert.equal(rate.perSecond(4_000), 20);
  assert.equal(rate.perSecond(10_000), 0);
  assert.equal(percentile([4, 1, 3, 2], 0.5), 3);
  assert.ok(Number.isNaN(percentile([], 0.5)));
});

test("sound waits for its cushion, and after running dry waits again", () => {
  const buffer = new JitterBuffer(100, 260);
  const out = new Float32Array(50);
  const piece = new Float32Array(60).fill(0.5);
  const pull = () => (buffer.pull(out, new Float32Array(50)), out[0]);
  buffer.push(piece, piece);
  assert.equal(pull(), 0, "60 of 100 is too little to begin");
  buffer.push(piece, piece);
  assert.equal(pull(), 0.5);
  assert.equal(pull(), 0.5);
  assert.equal(pull(), 0.5);
  assert.equal(buffer.underruns, 1, "20 were left of 50");
  assert.equal(out[20], 0);
  buffer.push(piece, piece);
  assert.equal(pull(), 0, "and it waits for its cushion again");
});

test("sound that piles up is skipped to its newest part, and the oldest goes", () => {
  const buffer = new JitterBuffer(100, 260);
  const ramp = Float32Array.from({ length: 300 }, (_, i) => i);
  buffer.push(ramp, ramp);
  assert.equal(buffer.filled, 100);
  const out = new Float32Array(10);
  buffer.pull(out, new Float32Array(10));
  assert.equal(out[0], 200);
  assert.equal(buffer.skipped, 200);
  for (let i = 0; i < 50; i += 1) buffer.push(ramp, ramp);
  assert.ok(buffer.filled <= 260);
});

test("sticks count as the cross and do not tremble", () => {
  const pad = (x, y, down = []) => ({ buttons: Array.from({ length: 16 }, (_, i) => ({ pressed: down.includes(i) })), axes: [x, y] });
  assert.deepEqual([...pressed([pad(0, 0, [0, 9])], new Set())], [0, 9]);
  const right = pressed([pad(0.6, 0)], new Set());
  assert.deepEqual([...right], [15]);
  assert.deepEqual([...pressed([pad(0.4, 0)], right)], [15], "held until it is near the middle");
  assert.deepEqual([...pressed([pad(0.3, 0)], right)], []);
  assert.deepEqual([...pressed([pad(0.4, 0)], new Set())], []);
});

test("what is typed after Ctrl is the key that has the letter", () => {
  assert.deepEqual(["c", "C", "7", "[", " ", "é", "你", "ab", ""].map(placeOf), ["KeyC", "KeyC", "Digit7", "BracketLeft", "Space", null, null, null, null]);
});
