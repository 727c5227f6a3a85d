// What the console makes of the stream, the map and the choice of a city.

import assert from "node:assert/strict";
import { test } from "node:test";

import { Cloud } from "../../console/js/console/cloud.js";
import { HEIGHT, WIDTH, arc, frame, nearest, outline, project } from "../../console/js/console/projection.js";
import { View } from "../../console/js/console/view.js";
import { EventParser } from "../../console/js/console/sse.js";
import { bitrate, learnNames, milliseconds, placeName } from "../../console/js/shared/format.js";
import { plain, startingPlace, terminalAt } from "../../console/js/shared/place.js";
import world from "../../console/vendor/world.js";

const place = (name, lat, lon, network = `dev:${plain(name)}`) => ({ name, network, position: { lat, lon } });
const berlin = place("Berlin", 52.52, 13.4);
const saoPaulo = place("São Paulo", -23.55, -46.63, "dev:sao-paulo");
const tokyo = place("Tokyo", 35.68, 139.69);

test("events are cut out of the stream wherever it breaks", () => {
  const text = 'event: site\r\ndata: {"a":\ndata: 1}\n\n: still there\n\nevent:links\ndata:[]\n\ndata: bare\n\n';
  const expected = [
    { event: "site", data: '{"a":\n1}' },
    { event: "links", data: "[]" },
    { event: "message", data: "bare" },
  ];
  for (let size = 1; size <= text.length; size += 1) {
    const parser = new EventParser();
    const events = [];
    for (let at = 0; at < text.length; at += size) events.push(...parser.push(text.slice(at, at + size)));
    assert.deepEqual(events, expected, `in pieces of ${size}`);
  }
});

test("an event without end is refused", () => {
  const parser = new EventParser();
  const piece = "x".repeat(1_024 * 1_024);
  assert.throws(() => {
    for (let i = 0; i < 20; i += 1) parser.push(piece);
  }, RangeError);
});

test("the cloud follows a snapshot and what changes after it", () => {
  const cloud = new Cloud();
  const site = { name: "frankfurt", title: "Frankfurt", position: { lat: 50, lon: 8 }, nodes: [], up: true, sessions: 0, load: 0 };
  const session = { id: "1", app: "probe", network: "dev:berlin", position: berlin.position, host_site: "frankfurt", entry_site: "frankfurt" };
  cloud.apply("snapshot", { sites: [site], nodes: [], apps: [], sessions: [session], links: [], places: [berlin, tokyo] });
  assert.equal(cloud.known, true);
  cloud.apply("site", { ...site, load: 0.5 });
  cloud.apply("weather", { sunny: true });
  assert.equal(cloud.sites.get("frankfurt").load, 0.5);
  assert.equal(cloud.siteTitle("frankfurt"), "Frankfurt");
  assert.equal(cloud.siteTitle("elsewhere"), "elsewhere");
  assert.equal(cloud.placeOf(cloud.sessions.get("1")).name, "Berlin");
  assert.equal(cloud.placeOf({ ...session, network: undefined, position: { lat: 35.681, lon: 139.689 } }).name, "Tokyo");
  assert.equal(cloud.placeOf({ ...session, network: undefined, position: undefined }), null);
  cloud.apply("removed", { kind: "session", id: "1" });
  assert.equal(cloud.sessions.size, 0);
});

test("the projection is the Natural Earth projection", () => {
  const middle = project({ lat: 0, lon: 0 });
  assert.equal(middle.x, WIDTH / 2);
  const east = project({ lat: 0, lon: 180 });
  assert.ok(Math.abs(east.x - WIDTH) < 1e-9);
  // As its authors describe it: poles are lines of 0.55 of the equator, and the map is 0.52 times as high as wide.
  const pole = project({ lat: 90, lon: 180 });
  assert.ok(Math.abs((pole.x - middle.x) / (WIDTH / 2) - 0.55) < 0.005);
  assert.ok(Math.abs((project({ lat: -90, lon: 0 }).y - pole.y) / WIDTH - 0.52) < 0.005);
  assert.ok(project({ lat: 50, lon: 0 }).y < middle.y);
  assert.ok(project({ lat: -40, lon: 0 }).y < HEIGHT);
});

test("the outline is land, whole, and inside the map", () => {
  const path = outline(world);
  assert.ok(path.length > 10_000 && path.startsWith("M") && path.endsWith("Z"));
  assert.ok(!path.includes("NaN"));
  for (const ring of world) {
    // A jump over the map would be a line across it.
    for (let i = 2; i < ring.length; i += 2) assert.ok(Math.abs(ring[i]) < 1_800, "no ring jumps over the date line");
  }
});

test("the frame holds all points in the shape of the window", () => {
  for (const ratio of [0.6, 1, 1.8, 3]) {
    const points = [berlin, tokyo, saoPaulo].map(({ position }) => project(position));
    const view = frame(points, ratio);
    assert.ok(Math.abs(view.width / view.height - ratio) < 1e-6);
    for (const { x, y } of points) {
      assert.ok(x > view.x && x < view.x + view.width, `${ratio}`);
      assert.ok(y > view.y && y < view.y + view.height, `${ratio}`);
    }
  }
  const near = frame([project(berlin.position)], 1.5);
  assert.ok(near.width < WIDTH / 2, "one city is not the whole world");
  const nothing = frame([], 2);
  assert.ok(nothing.width >= WIDTH * 0.9);
});

test("zooming keeps the point under the hand, and never shows more than there is", () => {
  const view = new View();
  view.handleBase({ x: 100, y: 50, width: 800, height: 400 });
  const point = { x: 300, y: 150 };
  const share = () => [(point.x - view.box.x) / view.box.width, (point.y - view.box.y) / view.box.height];
  const before = share();
  view.handleZoom(point, 2);
  assert.equal(view.box.width, 400);
  share().forEach((it, i) => assert.ok(Math.abs(it - before[i]) < 1e-9));
  assert.ok(view.zoomed);
  view.handlePan(-9_999, 9_999);
  assert.deepEqual(view.box, { x: 100, y: 250, width: 400, height: 200 });
  view.handleZoom(point, 1_000);
  assert.equal(view.box.width, 80);
  view.handleZoom(point, 0.001);
  assert.deepEqual(view.box, view.base);
  assert.ok(!view.zoomed);
});

test("arcs begin and end where they should, and bow upwards", () => {
  const line = arc({ x: 0, y: 100 }, { x: 100, y: 100 }, 0.2);
  assert.equal(line.path, "M0.0 100.0Q50.0 80.0 100.0 100.0");
  assert.ok(line.middle.y < 100);
  assert.ok(arc({ x: 100, y: 100 }, { x: 0, y: 100 }, 0.2).middle.y < 100);
  assert.ok(!arc({ x: 5, y: 5 }, { x: 5, y: 5 }, 0.2).path.includes("NaN"));
});

test("the nearest city is the one under the hand", () => {
  const at = project(tokyo.position);
  assert.equal(nearest({ x: at.x + 3, y: at.y - 2 }, [berlin, tokyo, saoPaulo]).name, "Tokyo");
  assert.equal(nearest(at, []), null);
});

test("one begins in the city one chose, else in that of the clock", () => {
  const places = [berlin, saoPaulo, tokyo];
  assert.equal(startingPlace(places, null, "America/Sao_Paulo").name, "São Paulo");
  assert.equal(startingPlace(places, tokyo, "Europe/Berlin").name, "Tokyo");
  assert.equal(startingPlace(places, null, "UTC").name, "Berlin");
  assert.equal(startingPlace(places, place("Atlantis", 0, 0), "Europe/Berlin").name, "Berlin");
  assert.equal(startingPlace([], null, "UTC"), null);
  const device = { name: "my location", position: { lat: 1, lon: 2 } };
  assert.equal(startingPlace([], device, "UTC"), device);
});

test("a terminal tells what it knows and nothing else", () => {
  assert.deepEqual(terminalAt(null), {});
  assert.deepEqual(terminalAt(berlin, [{ node: "b2", ms: 3, age_ms: 0 }]), { position: berlin.position, network: "dev:berlin", round_trips: [{ node: "b2", ms: 3, age_ms: 0 }] });
  assert.deepEqual(terminalAt({ name: "x", position: { lat: 1, lon: 2 } }), { position: { lat: 1, lon: 2 } });
});

test("numbers as people read them", () => {
  assert.equal(milliseconds(3.14159), "3.1 ms");
  assert.equal(milliseconds(210.4), "210 ms");
  assert.equal(milliseconds(null), "–");
  assert.equal(bitrate(2_450_000), "2.5 Mbit/s");
  assert.equal(bitrate(310_400), "310 kbit/s");
  assert.equal(placeName("sao-paulo"), "Sao Paulo");
  learnNames(["São Paulo"]);
  assert.equal(placeName("sao-paulo"), "São Paulo");
});
