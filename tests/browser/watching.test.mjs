// The viewer's decisions about hands, times and sound, in Node.

import assert from "node:assert/strict";
import { test } from "node:test";

import { Chain } from "../../console/js/watch/chain.js";
import { Playout } from "../../console/js/watch/playout.js";
import { broadcastOf, isWatchTicket, readInfo, trackOf, wayOf } from "../../console/js/watch/protocol.js";
import { Turn } from "../../console/js/watch/turn.js";
import { Zoom } from "../../console/js/watch/zoom.js";
import { moqUrl, websocketUrl } from "../../console/js/shared/transport.js";

const RESTS = [-90, -60, -30, 0];
const near = (actual, expected, by, what) => assert.ok(Math.abs(actual - expected) <= by, `${what}: ${actual}, expected ${expected}`);

test("a drag is followed, and comes to rest at a camera", () => {
  const turn = new Turn(-90);
  turn.handleDragStart(0);
  for (let now = 10; now <= 200; now += 10) turn.handleDrag(1, now);
  assert.equal(turn.at, -70);
  assert.equal(turn.moving, false, "the hand holds it");
  turn.handleDragEnd(RESTS, 400);
  assert.equal(turn.target, -60, "a hand that stood still throws nothing");
  for (let now = 410; turn.moving; now += 16) assert.ok(turn.tick(now) <= -60 && now < 3_000);
  assert.equal(turn.at, -60);
});

test("a throw goes on to where its speed leads", () => {
  const turn = new Turn(-90);
  turn.handleDragStart(0);
  for (let now = 10; now <= 100; now += 10) turn.handleDrag(2, now);
  turn.handleDragEnd(RESTS, 100);
  // 200 degrees a second run on for 44.
  assert.equal(turn.target, -30);
});

test("steps add up, and go around the seam", () => {
  const turn = new Turn(170);
  const rests = [170, -170, -150];
  turn.handleStep(rests, 1, 0);
  turn.handleStep(rests, 1, 5);
  assert.equal(turn.target, 210);
  for (let now = 10; turn.moving; now += 16) turn.tick(now);
  assert.equal(turn.at, 210);
  turn.handleStep(rests, -1, 5_000);
  assert.equal(turn.target, 190);
  turn.handleStep([170], 1, 5_000);
  assert.equal(turn.target, 530, "with one camera a step is a whole turn");
  turn.handleStep([], 1, 5_000);
  assert.equal(turn.target, 530, "and without any there is none");
});

test("the way to a bearing is the shorter one", () => {
  const turn = new Turn(170);
  turn.handleGoTo(-170, 0);
  assert.equal(turn.target, 190);
});

test("zoom keeps the point under the finger and the picture in the window", () => {
  const zoom = new Zoom();
  zoom.handleZoom(2, { x: 0.25, y: -0.25 });
  // The point of the picture that was at 0.25 is still there.
  assert.deepEqual([zoom.scale, zoom.x, zoom.y], [2, -0.25, 0.25]);
  zoom.handlePan(-9, 9);
  assert.deepEqual([zoom.x, zoom.y], [-0.5, 0.5]);
  zoom.handleZoom(100, { x: 0, y: 0 });
  assert.equal(zoom.scale, 8);
  zoom.handleZoom(0.001, { x: 0.3, y: 0.3 });
  assert.equal(zoom.scale, 1);
  near(zoom.x, 0, 0, "nothing is beside a picture that is seen whole");
});

/** Pictures 33 ms apart that take `late` to come. */
function pictures(playout, from, to, late) {
  let due = 0;
  for (let at = from; at < to; at += 33) due = playout.handlePicture(at, at + late(at)) - at;
  return due;
}

test("pictures wait so that they come evenly, and no longer", () => {
  const playout = new Playout();
  near(pictures(playout, 0, 3_000, () => 50), 50, 0.001, "evenly");
  const jitter = (at) => 50 + (at % 2 === 0 ? 0 : 30);
  near(pictures(playout, 3_003, 12_000, jitter), 80, 1, "unevenly");
  near(playout.waits(), 30, 1, "the wait of the first to come");
  near(pictures(playout, 12_012, 40_000, (at) => ((at / 33) % 20 === 0 ? 900 : 50)), 50, 1, "a rare late one is not waited for");
});

test("the burst at the start says nothing of the delay", () => {
  const playout = new Playout();
  // A group's pictures of the last 400 ms, all at once, then live.
  for (let at = 0; at <= 396; at += 33) playout.handlePicture(at, 430);
  near(pictures(playout, 429, 1_500, () => 34), 34, 0.001, "after the burst");
});

test("a new view whose first picture came sooner than the next begins without a gap", () => {
  const playout = new Playout();
  near(pictures(playout, 0, 3_000, (at) => 50 + (at % 2 === 0 ? 0 : 30)), 80, 1, "before");
  playout.handleView(3_003);
  const first = playout.handlePicture(3_003, 3_053) - 3_003;
  const next = playout.handlePicture(3_036, 3_116) - 3_036;
  near(first, 70, 1, "the first waits a little");
  assert.ok(next - first <= 10, `${next - first} ms more than even`);
});

test("pictures wait for their sound within bounds, and not when nobody listens", () => {
  const playout = new Playout();
  pictures(playout, 0, 2_000, () => 50);
  for (let now = 2_000; now < 3_000; now += 20) playout.handleSound(90, now);
  near(pictures(playout, 2_013, 3_000, () => 50), 90, 1, "with sound");
  for (let now = 3_000; now < 6_000; now += 20) playout.handleSound(5_000, now);
  assert.ok(pictures(playout, 3_003, 60_000, () => 50) <= 350.001);
  playout.handleSilence();
  near(pictures(playout, 60_027, 120_000, () => 50), 50, 1, "without");
});

test("packets follow each other without a seam, bent towards their time", () => {
  const chain = new Chain();
  let end = null;
  for (let i = 0; i < 100; i += 1) {
    const placed = chain.handlePacket(i * 20, 0.02, 1 + i * 0.02 + (i > 10 ? 0.01 : 0), 0.9 + i * 0.02);
    if (end !== null) near(placed.at, end, 1e-9, "the seam");
    end = placed.at + 0.02 / placed.rate;
    assert.ok(placed.rate > 0.98 && placed.rate < 1.02);
  }
  near(chain.heardAt(end - 0.001), 1_999, 1.1, "what is heard");
  near(end, 1 + 2 + 0.01, 0.005, "it has caught up");
  assert.equal(chain.breaks, 0);
});

test("what comes too late is left out, and the chain begins anew", () => {
  const chain = new Chain();
  assert.ok(chain.handlePacket(0, 0.02, 1, 0.9));
  assert.equal(chain.handlePacket(20, 0.02, 1.02, 1.5), null);
  const placed = chain.handlePacket(600, 0.02, 1.6, 1.5);
  assert.equal(placed.at, 1.6);
  assert.equal(chain.breaks, 1);
  assert.equal(chain.heardAt(1.3), null, "silence in between");
});

test("a ticket leads to the event by its own parameter", () => {
  const entry = { site: "frankfurt", node: "ab", address: "127.0.0.1:4433", websocket: "ws://127.0.0.1:4433/moq" };
  const ticket = { event: { name: "arena", cameras: [], renditions: [] }, entry, token: "a/b+c=", expires_unix_ms: 0, round_trip_ms: 1, on_air: [] };
  assert.ok(isWatchTicket(ticket));
  assert.equal(isWatchTicket({ ...ticket, entry: {} }), false);
  assert.equal(moqUrl(wayOf(ticket)).href, "https://127.0.0.1:4433/moq?watch=a%2Fb%2Bc%3D");
  assert.equal(websocketUrl(wayOf(ticket)).searchParams.get("watch"), "a/b+c=");
  assert.equal(broadcastOf("arena", "cam01"), "live/arena/cam01");
  assert.equal(trackOf("source"), "video");
  assert.equal(trackOf("low"), "video/low");
});

test("what a camera tells is read, and nonsense is not", () => {
  const bytes = (value) => new TextEncoder().encode(typeof value === "string" ? value : JSON.stringify(value));
  const info = readInfo(
    bytes({
      video: { codec: "h264", codec_string: "avc1.64001f", width: 1280, height: 720 },
      audio: { codec: "aac", codec_string: "mp4a.40.2", sample_rate: 44100, channels: 1, description: "1208" },
      renditions: ["low", 5],
      group_ms: 500,
      kilobits_per_second: 2500,
    }),
  );
  assert.deepEqual(info.video, { codec: "avc1.64001f", width: 1280, height: 720, bitrate: 2_500_000 });
  assert.deepEqual(info.audio, { codec: "mp4a.40.2", sampleRate: 44100, channels: 1, description: Uint8Array.of(0x12, 8) });
  assert.deepEqual(info.renditions, ["low"]);
  assert.equal(readInfo(bytes({ audio: { codec_string: "opus", description: "" } })).audio.description, null);
  for (const nonsense of ["", "[]", "7", "{", '{"video": 3}']) {
    const read = readInfo(bytes(nonsense));
    assert.ok(read === null || read.video === null, nonsense);
  }
});
