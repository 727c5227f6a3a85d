// What the player must know of H.264: where the units of an Annex B stream lie, and what a sequence parameter set says
// about the decoder it needs.

/** @typedef {{codec: string, width: number, height: number}} Sequence */

const NAL_SPS = 7;
/** Profiles whose parameter sets carry the chroma format (H.264, 7.3.2.1.1). */
const HIGH_PROFILES = new Set([100, 110, 122, 244, 44, 83, 86, 118, 128, 138, 139, 134, 135]);

/**
 * Reads the first sequence parameter set of an Annex B picture, or null when there is none.
 * @param {Uint8Array} picture
 * @returns {Sequence | null}
 */
export function readSequence(picture) {
  for (const unit of units(picture)) {
    if (unit.length > 0 && (unit[0] & 0x1f) === NAL_SPS) return readSps(unit);
  }
  return null;
}

/**
 * The units between start codes, without them.
 * @param {Uint8Array} bytes
 * @returns {Generator<Uint8Array, void>}
 */
export function* units(bytes) {
  let start = -1;
  let i = 0;
  while (i + 2 < bytes.length) {
    if (bytes[i] !== 0 || bytes[i + 1] !== 0 || bytes[i + 2] !== 1) {
      i += 1;
      continue;
    }
    // The zero before a start code of four bytes belongs to the start code.
    if (start >= 0) yield bytes.subarray(start, i > start && bytes[i - 1] === 0 ? i - 1 : i);
    start = i + 3;
    i += 3;
  }
  if (start >= 0) yield bytes.subarray(start);
}

/**
 * @param {Uint8Array} unit  A sequence parameter set with its header byte.
 * @returns {Sequence | null}  Null when it is cut short.
 */
export function readSps(unit) {
  if (unit.length < 5) return null;
  const codec = `avc1.${[unit[1], unit[2], unit[3]].map((byte) => byte.toString(16).padStart(2, "0")).join("")}`;
  const bits = new Bits(unescape(unit.subarray(4)));
  try {
    bits.ue(); // seq_parameter_set_id
    const chroma = HIGH_PROFILES.has(unit[1]) ? readChroma(bits) : { format: 1, separate: false };
    bits.ue(); // log2_max_frame_num_minus4
    skipPictureOrder(bits);
    bits.ue(); // max_num_ref_frames
    bits.take(1); // gaps_in_frame_num_value_allowed_flag
    const columns = bits.ue() + 1;
    const rows = bits.ue() + 1;
    const framesOnly = bits.take(1);
    if (framesOnly === 0) bits.take(1); // mb_adaptive_frame_field_flag
    bits.take(1); // direct_8x8_inference_flag
    const crop = bits.take(1) === 1 ? [bits.ue(), bits.ue(), bits.ue(), bits.ue()] : [0, 0, 0, 0];
    const array = chroma.separate ? 0 : chroma.format;
    const unitX = array === 1 || array === 2 ? 2 : 1;
    const unitY = (array === 1 ? 2 : 1) * (2 - framesOnly);
    return {
      codec,
      width: columns * 16 - (crop[0] + crop[1]) * unitX,
      height: rows * 16 * (2 - framesOnly) - (crop[2] + crop[3]) * unitY,
    };
  } catch (error) {
    if (error instanceof RangeError) return null;
    throw error;
  }
}

/** @param {Bits} bits @returns {{format: number, separate: boolean}} */
function readChroma(bits) {
  const format = bits.ue();
  const separate = format === 3 && bits.take(1) === 1;
  bits.ue(); // bit_depth_luma_minus8
  bits.ue(); // bit_depth_chroma_minus8
  bits.take(1); // qpprime_y_zero_transform_bypass_flag
  if (bits.take(1) === 1) {
    for (let list = 0; list < (format === 3 ? 12 : 8); list += 1) {
      if (bits.take(1) === 1) skipScalingList(bits, list < 6 ? 16 : 64);
    }
  }
  return { format, separate };
}

/** @param {Bits} bits @param {number} size */
function skipScalingList(bits, size) {
  let last = 8;
  let next = 8;
  for (let i = 0; i < size; i += 1) {
    if (next !== 0) next = (last + bits.se() + 256) % 256;
    last = next === 0 ? last : next;
  }
}

/** @param {Bits} bits */
function skipPictureOrder(bits) {
  const type = bits.ue();
  if (type === 0) {
    bits.ue(); // log2_max_pic_order_cnt_lsb_minus4
  } else if (type === 1) {
    bits.take(1); // delta_pic_order_always_zero_flag
    bits.se(); // offset_for_non_ref_pic
    bits.se(); // offset_for_top_to_bottom_field
    const cycle = bits.ue();
    // The standard allows at most 255; more is garbage that must not keep us busy.
    if (cycle > 255) throw new RangeError("picture order cycle");
    for (let i = 0; i < cycle; i += 1) bits.se();
  }
}

/** Takes out the bytes that keep start codes from appearing inside a unit. @param {Uint8Array} bytes */
function unescape(bytes) {
  const out = [];
  let zeros = 0;
  for (const byte of bytes) {
    if (zeros >= 2 && byte === 3) {
      zeros = 0;
      continue;
    }
    zeros = byte === 0 ? zeros + 1 : 0;
    out.push(byte);
  }
  return Uint8Array.from(out);
}

/** Reads bits, and throws RangeError past the end. */
class Bits {
  /** @param {Uint8Array} bytes */
  constructor(bytes) {
    this.bytes = bytes;
    this.at = 0;
  }

  /** @param {number} count @returns {number} */
  take(count) {
    let value = 0;
    for (let i = 0; i < count; i += 1) {
      if (this.at >= this.bytes.length * 8) throw new RangeError("past the end");
      value = value * 2 + ((this.bytes[this.at >> 3] >> (7 - (this.at & 7))) & 1);
      this.at += 1;
    }
    return value;
  }

  /** Unsigned Exp-Golomb. @returns {number} */
  ue() {
    let zeros = 0;
    while (this.take(1) === 0) {
      zeros += 1;
      if (zeros > 32) throw new RangeError("Exp-Golomb");
    }
    return 2 ** zeros - 1 + this.take(zeros);
  }

  /** Signed Exp-Golomb. @returns {number} */
  se() {
    const code = this.ue();
    return code % 2 === 1 ? (code + 1) / 2 : -code / 2;
  }
}
