// What the player reads of H.264 and of the frames of the video and cursor tracks.

import assert from "node:assert/strict";
import { test } from "node:test";

import { readSequence, readSps, units } from "../../console/js/shared/h264.js";
import { readCursorFrame } from "../../console/js/player/protocol.js";
import { readVideoFrame } from "../../console/js/shared/frame.js";

const bytes = (hex) => Uint8Array.from(hex.replaceAll(" ", "").match(/../g) ?? [], (pair) => Number.parseInt(pair, 16));

test("units lie between start codes of three or four bytes", () => {
  const found = [...units(bytes("00000001 67aa 000001 68bb 00000001 65cccc"))].map((unit) => Buffer.from(unit).toString("hex"));
  assert.deepEqual(found, ["67aa", "68bb", "65cccc"]);
  assert.deepEqual([...units(bytes("0102030405"))], []);
  assert.deepEqual([...units(bytes(""))], []);
});

test("a baseline parameter set names its codec and size", () => {
  // Written bit by bit: profile 66, constraints c0, level 3.1, picture order 2, 80 x 45 macroblocks, frames only.
  const sps = spsOf({ profile: 66, constraints: 0xc0, level: 31, columns: 80, rows: 45 });
  assert.deepEqual(readSps(sps), { codec: "avc1.42c01f", width: 1280, height: 720 });
});

test("cropping is taken off: 1080 lines are 68 rows of macroblocks less 8 lines", () => {
  const sps = spsOf({ profile: 66, constraints: 0xc0, level: 40, columns: 120, rows: 68, cropBottom: 4 });
  assert.deepEqual(readSps(sps), { codec: "avc1.42c028", width: 1920, height: 1080 });
});

test("high profiles carry the chroma format before the size", () => {
  const sps = spsOf({ profile: 100, constraints: 0, level: 40, columns: 45, rows: 80 });
  assert.deepEqual(readSps(sps), { codec: "avc1.640028", width: 720, height: 1280 });
});

test("the sequence is found behind other units, and garbage is no sequence", () => {
  const sps = Buffer.from(spsOf({ profile: 66, constraints: 0xc0, level: 31, columns: 40, rows: 30 })).toString("hex");
  const picture = bytes(`00000001 0910 00000001 ${sps} 00000001 68ce3c80 00000001 6588`);
  assert.equal(readSequence(picture)?.width, 640);
  assert.equal(readSequence(bytes("00000001 65888888")), null);
  assert.equal(readSequence(bytes("00000001 6742")), null);
  for (let length = 0; length < picture.length; length += 1) readSequence(picture.subarray(0, length));
});

test("any bytes are read without a fault", () => {
  let state = 7;
  const random = () => (state = (state * 1_103_515_245 + 12_345) & 0x7fffffff) & 0xff;
  for (let round = 0; round < 2_000; round += 1) {
    const noise = Uint8Array.from({ length: round % 64 }, random);
    readSps(noise);
    readSequence(Uint8Array.of(0, 0, 1, 0x67, ...noise));
    readVideoFrame(noise);
    readCursorFrame(noise);
  }
});

test("a video frame is its header and the picture", () => {
  const payload = bytes("01 01 0005 d002 0000 2a000000 f4010000 00000001 65");
  const frame = readVideoFrame(payload);
  assert.deepEqual(
    { ...frame, data: Buffer.from(frame.data).toString("hex") },
    { keyframe: true, width: 1280, height: 720, inputSeq: 42, encodeMicros: 500, data: "0000000165" },
  );
  assert.equal(readVideoFrame(bytes("01 02 0005 d002 0000 2a000000 f4010000 00000001 65")), null, "another version");
  assert.equal(readVideoFrame(payload.subarray(0, 16)), null, "a header without a picture");
});

test("a cursor is refused when its pixels do not fit its size", () => {
  const header = "0200 0100 0100 0000 01000000";
  const cursor = readCursorFrame(bytes(`${header} ff0000ff 00ff0080`));
  assert.equal(cursor.width * cursor.height * 4, cursor.rgba.length);
  assert.deepEqual([cursor.hotX, cursor.hotY, cursor.visible], [1, 0, true]);
  assert.equal(readCursorFrame(bytes(`${header} ff0000ff`)), null);
  assert.equal(readCursorFrame(bytes("ffff ffff 0000 0000 01000000")), null);
});

/** Writes a sequence parameter set. */
function spsOf({ profile, constraints, level, columns, rows, cropBottom = 0 }) {
  const bits = [];
  const put = (value, count) => {
    for (let i = count - 1; i >= 0; i -= 1) bits.push((value >> i) & 1);
  };
  const ue = (value) => {
    const length = Math.floor(Math.log2(value + 1));
    put(0, length);
    put(value + 1, length + 1);
  };
  ue(0);
  if (profile === 100) {
    ue(1); // chroma 4:2:0
    ue(0);
    ue(0);
    put(0, 1);
    put(0, 1); // no scaling matrix
  }
  ue(0);
  ue(2); // picture order
  ue(1);
  put(0, 1);
  ue(columns - 1);
  ue(rows - 1);
  put(1, 1); // frames only
  put(1, 1);
  put(cropBottom > 0 ? 1 : 0, 1);
  if (cropBottom > 0) for (const side of [0, 0, 0, cropBottom]) ue(side);
  put(0, 1);
  put(1, 1); // stop
  while (bits.length % 8 !== 0) bits.push(0);
  const out = [];
  for (let i = 0; i < bits.length; i += 8) out.push(Number.parseInt(bits.slice(i, i + 8).join(""), 2));
  // Start codes inside are broken up, as an encoder does.
  const escaped = [];
  for (const byte of out) {
    if (byte <= 3 && escaped.at(-1) === 0 && escaped.at(-2) === 0) escaped.push(3);
    escaped.push(byte);
  }
  return Uint8Array.of(0x67, profile, constraints, level, ...escaped);
}
