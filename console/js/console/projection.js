// From the globe to the map: the Natural Earth projection (Patterson, Šavrič, Jenny), by its polynomial. Pure.

/** @typedef {{lat: number, lon: number}} Position */
/** @typedef {{x: number, y: number}} Point */

/** The map's width in its own units; its height follows from what is shown. */
export const WIDTH = 1_000;
/** What is shown: without Antarctica's plain, where nobody is. */
const TOP_LATITUDE = 82;
const BOTTOM_LATITUDE = -57;
/** Around what is shown: this share of its width, and at least so many units. */
const FRAME_MARGIN = 0.07;
const FRAME_MARGIN_MIN = 24;
/** The narrowest part that is shown, in units: nearer, the outline is too coarse. */
const FRAME_MIN = 220;
const RADIANS = Math.PI / 180;
/** Half the width of the projection of a globe of radius 1. */
const HALF_WIDTH = 0.8707 * Math.PI;
const SCALE = WIDTH / (2 * HALF_WIDTH);
const TOP = rise(TOP_LATITUDE * RADIANS);
/** The map's height in its own units. */
export const HEIGHT = (TOP - rise(BOTTOM_LATITUDE * RADIANS)) * SCALE;

/** @param {Position} position @returns {Point} */
export function project({ lat, lon }) {
  const phi = lat * RADIANS;
  return { x: WIDTH / 2 + lon * RADIANS * spread(phi) * SCALE, y: (TOP - rise(phi)) * SCALE };
}

/** How far a degree of longitude goes at this latitude. @param {number} phi */
function spread(phi) {
  const p2 = phi * phi;
  const p4 = p2 * p2;
  return 0.8707 - 0.131979 * p2 + p4 * (-0.013791 + p4 * (0.003971 * p2 - 0.001529 * p4));
}

/** How high this latitude lies. @param {number} phi */
function rise(phi) {
  const p2 = phi * phi;
  const p4 = p2 * p2;
  return phi * (1.007226 + p2 * (0.015085 + p4 * (-0.044475 + 0.028874 * p2 - 0.005916 * p4)));
}

/**
 * The outline as one SVG path. Rings are [longitude, latitude, then differences] in tenths of a degree.
 * @param {number[][]} rings
 * @returns {string}
 */
export function outline(rings) {
  return rings
    .map((ring) => {
      let lon = 0;
      let lat = 0;
      let path = "";
      for (let i = 0; i + 1 < ring.length; i += 2) {
        lon += ring[i];
        lat += ring[i + 1];
        const { x, y } = project({ lat: lat / 10, lon: lon / 10 });
        path += `${i === 0 ? "M" : "L"}${x.toFixed(1)} ${y.toFixed(1)}`;
      }
      return `${path}Z`;
    })
    .join("");
}

/**
 * A line between two points, bowed upwards so that lines of near pairs can be told apart.
 * @param {Point} from
 * @param {Point} to
 * @param {number} bow  Share of the length.
 * @returns {{path: string, middle: Point}}
 */
export function arc(from, to, bow) {
  const length = Math.hypot(to.x - from.x, to.y - from.y);
  const middle = { x: (from.x + to.x) / 2, y: (from.y + to.y) / 2 };
  // Perpendicular to the line, towards the top of the map.
  const side = to.x >= from.x ? 1 : -1;
  const nx = length === 0 ? 0 : ((to.y - from.y) / length) * side;
  const ny = length === 0 ? 0 : (-(to.x - from.x) / length) * side;
  const bend = { x: middle.x + nx * length * bow, y: middle.y + ny * length * bow };
  return {
    path: `M${fixed(from)}Q${fixed(bend)} ${fixed(to)}`,
    middle: { x: (middle.x + bend.x) / 2, y: (middle.y + bend.y) / 2 },
  };
}

/** @param {Point} point */
function fixed({ x, y }) {
  return `${x.toFixed(1)} ${y.toFixed(1)}`;
}

/**
 * The part of the map to show: all points with a margin, in the shape of the frame.
 * @param {Point[]} points
 * @param {number} ratio  The frame's width over its height.
 * @returns {{x: number, y: number, width: number, height: number}}
 */
export function frame(points, ratio) {
  const shape = Number.isFinite(ratio) && ratio > 0 ? ratio : WIDTH / HEIGHT;
  const [left, right, top, bottom] =
    points.length === 0
      ? [0, WIDTH, 0, HEIGHT]
      : [Math.min(...points.map(({ x }) => x)), Math.max(...points.map(({ x }) => x)), Math.min(...points.map(({ y }) => y)), Math.max(...points.map(({ y }) => y))];
  const margin = points.length === 0 ? 0 : Math.max(FRAME_MARGIN_MIN, (right - left) * FRAME_MARGIN);
  const tight = { width: Math.max(FRAME_MIN, right - left + 2 * margin), height: bottom - top + 2 * margin };
  const width = Math.min(WIDTH * 1.04, Math.max(tight.width, tight.height * shape));
  const height = width / shape;
  // In the middle of the points, but not past the ends of the map while there is map to show.
  const x = clamp((left + right) / 2 - width / 2, 0, WIDTH * 1.02 - width);
  const y = height >= HEIGHT ? (HEIGHT - height) / 2 : clamp((top + bottom) / 2 - height / 2, 0, HEIGHT - height);
  return { x, y, width, height };
}

/** @param {number} value @param {number} min @param {number} max */
function clamp(value, min, max) {
  return Math.max(min, Math.min(max, value));
}

/**
 * The nearest of some positions to a point of the map.
 * @template {{position: Position}} T
 * @param {Point} point
 * @param {T[]} places
 * @returns {T | null}
 */
export function nearest(point, places) {
  /** @type {T | null} */
  let best = null;
  let distance = Infinity;
  for (const place of places) {
    const at = project(place.position);
    const d = Math.hypot(at.x - point.x, at.y - point.y);
    if (d < distance) {
      best = place;
      distance = d;
    }
  }
  return best;
}
