// Which part of the map is looked at. Pure. Everything is in map units.

/** @typedef {{x: number, y: number, width: number, height: number}} Box */

/** The nearest one may go: nearer, the outline is all corners. */
const ZOOM_MAX = 10;

/** A window on the map that never leaves its base. */
export class View {
  constructor() {
    /** What is seen without zooming. @type {Box} */
    this.base = { x: 0, y: 0, width: 1, height: 1 };
    /** @type {Box} */
    this.box = this.base;
  }

  /** What there is to see has changed: it is all shown again. @param {Box} base */
  handleBase(base) {
    this.base = base;
    this.box = base;
  }

  get zoomed() {
    return this.box.width < this.base.width * 0.999;
  }

  /**
   * Goes nearer (above 1) or farther, while the point stays where it is on the screen.
   * @param {{x: number, y: number}} point
   * @param {number} factor
   */
  handleZoom(point, factor) {
    const width = Math.min(this.base.width, Math.max(this.base.width / ZOOM_MAX, this.box.width / factor));
    const share = width / this.box.width;
    this.place(point.x - (point.x - this.box.x) * share, point.y - (point.y - this.box.y) * share, width);
  }

  /** @param {number} dx @param {number} dy */
  handlePan(dx, dy) {
    this.place(this.box.x + dx, this.box.y + dy, this.box.width);
  }

  /** @param {number} x @param {number} y @param {number} width */
  place(x, y, width) {
    const { base } = this;
    const height = (width * base.height) / base.width;
    this.box = {
      x: Math.max(base.x, Math.min(base.x + base.width - width, x)),
      y: Math.max(base.y, Math.min(base.y + base.height - height, y)),
      width,
      height,
    };
  }
}
