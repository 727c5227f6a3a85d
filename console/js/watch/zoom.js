// Which part of the picture is looked at. Pure. Points are fractions of the window, from its middle.

/** Nearer than this shows nothing new. */
export const ZOOM_MAX = 8;

/** A window on the picture that never leaves it. */
export class Zoom {
  constructor() {
    this.scale = 1;
    this.x = 0;
    this.y = 0;
  }

  /**
   * Goes nearer (above 1) or farther, while the point stays where it is.
   * @param {number} factor
   * @param {{x: number, y: number}} point
   */
  handleZoom(factor, point) {
    const scale = Math.min(ZOOM_MAX, Math.max(1, this.scale * factor));
    const share = scale / this.scale;
    this.scale = scale;
    this.place(point.x - (point.x - this.x) * share, point.y - (point.y - this.y) * share);
  }

  /** @param {number} dx @param {number} dy */
  handlePan(dx, dy) {
    this.place(this.x + dx, this.y + dy);
  }

  reset() {
    this.scale = 1;
    this.place(0, 0);
  }

  /** @param {number} x @param {number} y */
  place(x, y) {
    const limit = (this.scale - 1) / 2;
    this.x = Math.max(-limit, Math.min(limit, x));
    this.y = Math.max(-limit, Math.min(limit, y));
  }
}
