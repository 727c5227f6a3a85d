// Makes world.js, the outline under the console's map, from Natural Earth's 1:50m land.
//
// Points are kept in tenths of a degree (11 km at the equator, finer than a pixel of the map) and written as
// differences, so the file stays small enough to serve with the page.
import { readFileSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { feature } from "topojson-client";

/** Points nearer than this to the line between their neighbours are left out, in degrees. */
const TOLERANCE_DEGREES = 0.14;
/** Land wholly south of this is left out: the map ends before Antarctica. */
const SOUTHERNMOST_DEGREES = -58;
/** Rings with a smaller box than this are islands nobody would see, in square degrees. */
const SMALLEST_BOX_DEGREES2 = 0.4;

const require = createRequire(import.meta.url);
const topology = JSON.parse(readFileSync(require.resolve("world-atlas/land-50m.json"), "utf8"));
const land = feature(topology, topology.objects.land);
const rings = land.features
  .flatMap((shape) => (shape.geometry.type === "Polygon" ? [shape.geometry.coordinates] : shape.geometry.coordinates))
  .flat()
  .map(unwrap)
  .filter((ring) => boxArea(ring) >= SMALLEST_BOX_DEGREES2 && ring.some(([, latitude]) => latitude > SOUTHERNMOST_DEGREES))
  .map((ring) => differences(simplify(ring, TOLERANCE_DEGREES)))
  .filter((ring) => ring.length >= 8);

writeFileSync(
  new URL("world.js", import.meta.url),
  "// Natural Earth 1:50m land (public domain), simplified. Made by world.build.mjs; see README.md.\n" +
    "// Each ring is [longitude, latitude, then differences], in tenths of a degree.\n" +
    `export default ${JSON.stringify(rings)};\n`,
);

// A ring over the date line goes on past 180 degrees instead of jumping to the other side of the map.
function unwrap(ring) {
  let turn = 0;
  const points = ring.map(([longitude, latitude], i) => {
    const step = i === 0 ? 0 : longitude - ring[i - 1][0];
    if (step > 180) turn -= 360;
    if (step < -180) turn += 360;
    return [longitude + turn, latitude];
  });
  // Most of the ring decides on which side of the line it lies.
  const mean = points.reduce((sum, [longitude]) => sum + longitude, 0) / points.length;
  const shift = mean < -180 ? 360 : mean > 180 ? -360 : 0;
  return points.map(([longitude, latitude]) => [longitude + shift, latitude]);
}

function boxArea(ring) {
  const longitudes = ring.map(([longitude]) => longitude);
  const latitudes = ring.map(([, latitude]) => latitude);
  return (Math.max(...longitudes) - Math.min(...longitudes)) * (Math.max(...latitudes) - Math.min(...latitudes));
}

// Ramer, Douglas and Peucker: keep the farthest point while it is farther than the tolerance.
function simplify(points, tolerance) {
  if (points.length < 3) return points;
  const [first, last] = [points[0], points[points.length - 1]];
  let farthest = 0;
  let distance = 0;
  for (let i = 1; i < points.length - 1; i += 1) {
    const d = distanceToSegment(points[i], first, last);
    if (d > distance) [farthest, distance] = [i, d];
  }
  if (distance <= tolerance) return [first, last];
  return [...simplify(points.slice(0, farthest + 1), tolerance).slice(0, -1), ...simplify(points.slice(farthest), tolerance)];
}

function distanceToSegment([x, y], [ax, ay], [bx, by]) {
  const [dx, dy] = [bx - ax, by - ay];
  const length2 = dx * dx + dy * dy;
  const t = length2 === 0 ? 0 : Math.max(0, Math.min(1, ((x - ax) * dx + (y - ay) * dy) / length2));
  return Math.hypot(x - ax - t * dx, y - ay - t * dy);
}

function differences(points) {
  const tenths = points.map(([longitude, latitude]) => [Math.round(longitude * 10), Math.round(latitude * 10)]);
  const out = [...tenths[0]];
  for (let i = 1; i < tenths.length; i += 1) {
    const [dx, dy] = [tenths[i][0] - tenths[i - 1][0], tenths[i][1] - tenths[i - 1][1]];
    if (dx !== 0 || dy !== 0) out.push(dx, dy);
  }
  return out;
}
