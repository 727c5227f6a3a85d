// Gamepads are read by asking; nothing is asked before one is plugged in.

/** A stick pushed this far counts as the cross pressed. */
const STICK_ON = 0.5;
/** And this near the middle as let go, so that a trembling thumb does not press twice. */
const STICK_OFF = 0.35;
/** The cross in the Standard Gamepad layout. */
const UP = 12;
const DOWN = 13;
const LEFT = 14;
const RIGHT = 15;

/** Turns gamepads into button events. */
export class GamepadReader {
  /**
   * @param {object} parts
   * @param {() => boolean} parts.isHeard  Whether what is pressed goes anywhere; else nothing counts as pressed.
   * @param {(button: number, down: boolean) => void} parts.onButton
   */
  constructor(parts) {
    this.isHeard = parts.isHeard;
    this.onButton = parts.onButton;
    /** @type {Set<number>} */
    this.down = new Set();
    this.running = false;
    addEventListener("gamepadconnected", () => this.start());
  }

  start() {
    if (this.running) return;
    this.running = true;
    const step = () => {
      const pads = navigator.getGamepads().filter((pad) => pad !== null);
      this.apply(this.isHeard() ? pressed(pads, this.down) : new Set());
      if (pads.length === 0) {
        this.running = false;
        return;
      }
      requestAnimationFrame(step);
    };
    requestAnimationFrame(step);
  }

  /** The app has let go of everything: what is still held is pressed anew when it is heard again. */
  forget() {
    this.down = new Set();
  }

  /** @param {Set<number>} now */
  apply(now) {
    for (const button of now) if (!this.down.has(button)) this.onButton(button, true);
    for (const button of this.down) if (!now.has(button)) this.onButton(button, false);
    this.down = now;
  }
}

/**
 * The buttons that are down on any of the pads; sticks count as the cross. Pure.
 * @param {readonly {buttons: readonly {pressed: boolean}[], axes: readonly number[]}[]} pads
 * @param {Set<number>} before
 * @returns {Set<number>}
 */
export function pressed(pads, before) {
  /** @type {Set<number>} */
  const now = new Set();
  /** @param {number} button @param {number} push */
  const stick = (button, push) => {
    if (push > (before.has(button) ? STICK_OFF : STICK_ON)) now.add(button);
  };
  for (const pad of pads) {
    pad.buttons.forEach((button, index) => {
      if (button.pressed) now.add(index);
    });
    const [x = 0, y = 0] = pad.axes;
    stick(UP, -y);
    stick(DOWN, y);
    stick(LEFT, -x);
    stick(RIGHT, x);
  }
  return now;
}
