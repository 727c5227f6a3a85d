// What stands before every picture of a video track. Pure; all numbers are little endian.

/**
 * @typedef {object} VideoFrame
 * @property {boolean} keyframe
 * @property {number} width
 * @property {number} height
 * @property {number} inputSeq  The last of our events that the app had before this picture; 0 is none.
 * @property {number} encodeMicros  From capture to encoded.
 * @property {Uint8Array} data  H.264, Annex B.
 */

const HEADER_BYTES = 16;
const VERSION = 1;

/**
 * @param {Uint8Array} payload
 * @returns {VideoFrame | null}  Null for a frame of another version or one cut short.
 */
export function readVideoFrame(payload) {
  if (payload.byteLength <= HEADER_BYTES) return null;
  const view = new DataView(payload.buffer, payload.byteOffset, payload.byteLength);
  if (view.getUint8(1) !== VERSION) return null;
  return {
    keyframe: (view.getUint8(0) & 1) === 1,
    width: view.getUint16(2, true),
    height: view.getUint16(4, true),
    inputSeq: view.getUint32(8, true),
    encodeMicros: view.getUint32(12, true),
    data: payload.subarray(HEADER_BYTES),
  };
}
