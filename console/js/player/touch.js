// Fingers as a pointer. One finger points and presses; two fingers scroll, and a short tap of two is the right button.
// Where the app wants relative motion a finger turns instead, and a short tap clicks.

/** A touch shorter than this that moved less than TAP_POINTS is a tap, in milliseconds. */
const TAP_MS = 250;
/** In points of the window. */
const TAP_POINTS = 10;
/** Points of two-finger motion that make one notch of a wheel. */
const POINTS_PER_NOTCH = 40;
/** A finger turns this much faster than it moves: a thumb has little room. */
const TURN_SPEED = 2;

/** @typedef {{x: number, y: number}} Point */

/** Reads touches on the canvas. */
export class TouchReader {
  /** @param {import("./input.js").Input} input */
  constructor(input) {
    this.input = input;
    /** @type {Map<number, Point>} */
    this.fingers = new Map();
    this.startedAt = 0;
    this.travelled = 0;
    this.most = 0;
    this.pressed = false;
  }

  /** @param {HTMLCanvasElement} canvas */
  listen(canvas) {
    /** @param {(event: PointerEvent) => void} handle */
    const touchOnly = (handle) => (/** @type {PointerEvent} */ event) => {
      if (event.pointerType === "mouse" || !this.input.enabled) return;
      event.preventDefault();
      handle(event);
    };
    canvas.addEventListener("pointerdown", touchOnly((event) => this.handleDown(event)));
    canvas.addEventListener("pointermove", touchOnly((event) => this.handleMove(event)));
    canvas.addEventListener("pointerup", touchOnly((event) => this.handleUp(event)));
    canvas.addEventListener("pointercancel", touchOnly((event) => this.handleUp(event)));
    // Keeps the browser from making mouse events of touches.
    canvas.addEventListener("touchstart", (event) => event.preventDefault(), { passive: false });
  }

  /** @param {PointerEvent} event */
  handleDown(event) {
    this.input.onGesture();
    if (this.fingers.size === 0) {
      this.startedAt = event.timeStamp;
      this.travelled = 0;
      this.most = 0;
    }
    this.fingers.set(event.pointerId, { x: event.clientX, y: event.clientY });
    this.most = Math.max(this.most, this.fingers.size);
    if (this.input.wantsLock) return;
    if (this.fingers.size === 1) {
      this.press(0, true, event);
    } else if (this.pressed) {
      // A second finger: it was no press after all.
      this.press(0, false, event);
    }
  }

  /** @param {PointerEvent} event */
  handleMove(event) {
    const before = this.fingers.get(event.pointerId);
    if (!before) return;
    const moved = { x: event.clientX - before.x, y: event.clientY - before.y };
    this.fingers.set(event.pointerId, { x: event.clientX, y: event.clientY });
    this.travelled += Math.hypot(moved.x, moved.y);
    const { queue, screen, wantsLock } = this.input;
    if (this.fingers.size >= 2) {
      // Each finger brings its half. Fingers move the page, wheels move the view: the sign turns.
      queue.handleWheel(-moved.x / POINTS_PER_NOTCH / 2, -moved.y / POINTS_PER_NOTCH / 2);
    } else if (wantsLock) {
      const scale = screen.pixelsPerPoint * TURN_SPEED;
      queue.handleRelative(moved.x * scale, moved.y * scale);
    } else {
      const { x, y } = screen.fractionAt(event.clientX, event.clientY);
      queue.handleMove(x, y);
    }
    this.input.motion();
  }

  /** @param {PointerEvent} event */
  handleUp(event) {
    if (!this.fingers.delete(event.pointerId)) return;
    if (this.pressed && this.fingers.size === 0) this.press(0, false, event);
    if (this.fingers.size > 0) return;
    const tap = event.timeStamp - this.startedAt < TAP_MS && this.travelled < TAP_POINTS;
    if (!tap) return;
    if (this.most === 2) this.click(2, event);
    else if (this.input.wantsLock) this.click(0, event);
  }

  /** @param {number} button @param {PointerEvent} event */
  click(button, event) {
    this.press(button, true, event);
    this.press(button, false, event);
  }

  /** @param {number} button @param {boolean} down @param {PointerEvent} event */
  press(button, down, event) {
    if (button === 0) this.pressed = down;
    const where = this.input.wantsLock ? {} : this.input.screen.fractionAt(event.clientX, event.clientY);
    this.input.discrete({ t: "button", button, down, ...where });
  }
}
