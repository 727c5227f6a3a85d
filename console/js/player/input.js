// From the hand to events: keyboard, pointer, wheel, touch, gamepad, clipboard.
//
// Motion waits for the next animation frame unless the last one is long gone; everything else goes out at once.

import { CLIPBOARD_BYTES_MAX, EventQueue, utf8Length } from "./events.js";
import { GamepadReader } from "./gamepad.js";
import { placeOf } from "./keys.js";
import { TouchReader } from "./touch.js";

/** @typedef {import("./events.js").WireEvent} WireEvent */
/** @typedef {Extract<import("./events.js").Discrete, {t: "key" | "button" | "gamepad"}>} Press */

/** Motion after a pause at least this long goes out without waiting for a frame, in milliseconds. */
const MOTION_PAUSE_MS = 12;
/** Pixels of a wheel that count as one notch. */
const PIXELS_PER_NOTCH = 100;
/** Lines of a wheel that count as one notch. */
const LINES_PER_NOTCH = 3;
/** The browser hands over the clipboard within this long of Ctrl+V, in milliseconds, or not at all. */
const PASTE_LIMIT_MS = 60;
/** What stands in the text field so that a virtual keyboard has something to delete. */
const FILLER = "\u200b\u200b";
/** Keys of the browser that the app does not get. */
const BROWSER_KEYS = new Set(["F11"]);
/** What an input method has put into the field comes with `compositionend`; some browsers say it here once more. */
const COMPOSED = new Set(["insertCompositionText", "insertFromComposition"]);

/** Captures input for one screen. */
export class Input {
  /**
   * @param {object} parts
   * @param {import("./screen.js").Screen} parts.screen
   * @param {HTMLTextAreaElement} parts.field  The hidden field that receives text from input methods.
   * @param {(events: WireEvent[]) => void} parts.send
   * @param {(code: string) => boolean} parts.onShortcut  Ctrl+Alt+key of the player itself; true when taken.
   * @param {(locked: boolean) => void} parts.onPointerLock
   * @param {() => void} parts.onGesture  The person touched something: sound may start.
   */
  constructor(parts) {
    this.screen = parts.screen;
    this.canvas = parts.screen.canvas;
    this.field = parts.field;
    this.send = parts.send;
    this.onShortcut = parts.onShortcut;
    this.onPointerLock = parts.onPointerLock;
    this.onGesture = parts.onGesture;
    this.queue = new EventQueue();
    /** Whether the app wants the pointer locked. It is a game then: characters are less wanted than keys. */
    this.wantsLock = false;
    this.enabled = false;
    /** The presses that the app has not seen the end of, by what is held. @type {Map<string, Press>} */
    this.held = new Map();
    /** Ctrl and Alt of a touch screen, which wait for the key that they go with. @type {Set<string>} */
    this.waiting = new Set();
    this.onWaiting = () => {};
    /** Whether what is being composed has been sent as a key already. */
    this.composedAsKey = false;
    /** Whether the last key was a dead one, which gives the next its accent. */
    this.afterDead = false;
    this.sentMotionAt = 0;
    this.frameAsked = false;
    /** The paste that Ctrl+V waits for. @type {((text: string | null) => void) | null} */
    this.paste = null;
    this.touch = new TouchReader(this);
    this.gamepad = new GamepadReader({
      // A pad plays for the window in front.
      isHeard: () => this.enabled && document.hasFocus(),
      onButton: (button, down) => this.discrete({ t: "gamepad", button, down }),
    });
    this.listen();
  }

  listen() {
    const { canvas, field } = this;
    addEventListener("keydown", (event) => this.handleKeyDown(event), { capture: true });
    addEventListener("keyup", (event) => this.handleKeyUp(event), { capture: true });
    canvas.addEventListener("mousedown", (event) => this.handleMouseDown(event));
    addEventListener("mouseup", (event) => this.handleMouseUp(event));
    // What is dragged may leave the picture.
    addEventListener("mousemove", (event) => {
      if (event.target === canvas || this.dragging) this.handleMouseMove(event);
    });
    canvas.addEventListener("wheel", (event) => this.handleWheel(event), { passive: false });
    canvas.addEventListener("contextmenu", (event) => event.preventDefault());
    canvas.addEventListener("auxclick", (event) => event.preventDefault());
    this.touch.listen(canvas);
    field.addEventListener("input", (event) => this.handleText(/** @type {InputEvent} */ (event)));
    field.addEventListener("compositionend", (event) => this.handleComposed(event.data));
    document.addEventListener("paste", (event) => this.handlePaste(event));
    document.addEventListener("pointerlockchange", () => this.onPointerLock(this.locked));
    addEventListener("blur", () => this.release());
    document.addEventListener("visibilitychange", () => {
      if (document.hidden) this.release();
    });
  }

  /** Whether the pointer is the app's only once it is locked. Where a browser cannot lock, it points as for other apps. */
  get awaitsLock() {
    return this.wantsLock && !this.locked && "requestPointerLock" in this.canvas;
  }

  get dragging() {
    return [...this.held.values()].some(({ t }) => t === "button");
  }

  get locked() {
    return document.pointerLockElement === this.canvas;
  }

  /** @param {boolean} enabled */
  setEnabled(enabled) {
    if (!enabled) this.release();
    this.enabled = enabled;
  }

  /** Over another connection the app must hear again of what is held down. */
  holdAgain() {
    // A button is left out: it would press whatever is under the pointer there.
    for (const press of [...this.held.values()]) if (press.t !== "button") this.discrete(press);
  }

  focus() {
    // On a touch screen this would raise the keyboard, which has its own button.
    if (!matchMedia("(pointer: coarse)").matches) this.field.focus({ preventScroll: true });
  }

  /** Opens or closes the keyboard of a touch screen. */
  toggleKeyboard() {
    if (document.activeElement === this.field) {
      this.field.blur();
    } else {
      this.field.value = FILLER;
      this.field.focus({ preventScroll: true });
    }
  }

  /** Presses and lets go, for the buttons of the page, with what waits for it. @param {string} code */
  tap(code) {
    const codes = [...this.waiting, code];
    for (const it of codes) this.discrete({ t: "key", code: it, down: true });
    for (const it of codes.reverse()) this.discrete({ t: "key", code: it, down: false });
    this.clearWaiting();
  }

  /** @param {string} code */
  toggleWaiting(code) {
    if (!this.waiting.delete(code)) this.waiting.add(code);
    this.onWaiting();
  }

  clearWaiting() {
    this.waiting.clear();
    this.onWaiting();
  }

  /** Text of an input method or of a touch screen; a letter after Ctrl or Alt is meant as a key. @param {string} text */
  type(text) {
    const code = this.waiting.size > 0 ? placeOf(text) : null;
    if (code) this.tap(code);
    else this.discrete({ t: "text", text });
  }

  /** @param {KeyboardEvent} event */
  handleKeyDown(event) {
    if (!this.takes(event)) return;
    this.onGesture();
    if (event.ctrlKey && event.altKey && !event.repeat && this.onShortcut(event.code)) {
      event.preventDefault();
      // The app saw Ctrl and Alt go down and would keep them.
      this.release();
      return;
    }
    // 229: an input method is at work; its text arrives in the field.
    if (event.isComposing || event.keyCode === 229 || event.code === "") return;
    if (BROWSER_KEYS.has(event.code)) return;
    if (isPaste(event)) {
      if (!event.repeat) void this.pasteThenKey(event.code);
      return;
    }
    if (!this.wantsLock && this.handleCharacter(event)) return;
    event.preventDefault();
    if (event.repeat) return;
    this.discrete({ t: "key", code: event.code, down: true });
  }

  /**
   * Takes a key that stands for a character which the app's own layout may not have. Nothing is held then, so what the
   * browser repeats is typed again.
   * @param {KeyboardEvent} event
   */
  handleCharacter(event) {
    // The browser adds the accent to the next letter, or hands both to the field.
    if (event.key === "Dead") {
      this.afterDead = true;
      return true;
    }
    // It has no meaning but in the characters that it gives.
    if (event.key === "AltGraph") {
      this.letGoOfAltGraph();
      event.preventDefault();
      return true;
    }
    if (!isForeignLetter(event) && !(this.afterDead && isCharacter(event))) {
      this.afterDead &&= isModifier(event);
      return false;
    }
    this.afterDead = false;
    event.preventDefault();
    this.discrete({ t: "text", text: event.key });
    return true;
  }

  /** Windows says AltGr as Ctrl and Alt. */
  letGoOfAltGraph() {
    if (this.held.has("key ControlLeft")) this.discrete({ t: "key", code: "ControlLeft", down: false });
  }

  /** @param {KeyboardEvent} event */
  handleKeyUp(event) {
    if (!this.held.has(`key ${event.code}`)) return;
    event.preventDefault();
    this.discrete({ t: "key", code: event.code, down: false });
    // macOS tells nothing of other keys that go up while Command is held.
    if (event.key === "Meta") this.release();
  }

  /** Keys that are meant for the page's own buttons and fields stay there. @param {KeyboardEvent} event */
  takes(event) {
    if (!this.enabled) return false;
    const { target } = event;
    if (target === this.field || target === this.canvas || target === document.body) return true;
    return this.locked;
  }

  /** @param {string} code */
  async pasteThenKey(code) {
    const text = await new Promise((resolve) => {
      this.paste = resolve;
      setTimeout(() => resolve(null), PASTE_LIMIT_MS);
    });
    this.paste = null;
    if (typeof text === "string") this.sendClipboard(text);
    this.discrete({ t: "key", code, down: true });
    this.discrete({ t: "key", code, down: false });
  }

  /** @param {ClipboardEvent} event */
  handlePaste(event) {
    if (!this.enabled || !this.isOurs(event.target)) return;
    const text = event.clipboardData?.getData("text/plain") ?? "";
    event.preventDefault();
    if (this.paste) this.paste(text);
    else this.sendClipboard(text);
  }

  /** @param {string} text */
  sendClipboard(text) {
    if (text !== "" && utf8Length(text) <= CLIPBOARD_BYTES_MAX) this.discrete({ t: "clipboard", text });
  }

  /** @param {EventTarget | null} target */
  isOurs(target) {
    return target === this.field || target === this.canvas || target === document.body;
  }

  /** @param {InputEvent} event */
  handleText(event) {
    if (!this.enabled) return;
    if (event.isComposing) {
      // Keyboards compose whole words, and would keep the letter until its end.
      if (this.waiting.size > 0 && event.data && placeOf(event.data)) {
        this.type(event.data);
        this.composedAsKey = true;
        this.field.value = FILLER;
      }
      return;
    }
    if (event.inputType === "deleteContentBackward") this.tap("Backspace");
    else if (event.inputType === "deleteContentForward") this.tap("Delete");
    else if (event.inputType === "insertLineBreak" || event.inputType === "insertParagraph") this.tap("Enter");
    else if (event.inputType.startsWith("insert") && !COMPOSED.has(event.inputType) && event.data) {
      this.type(event.data);
    }
    this.field.value = FILLER;
  }

  /** @param {string} text */
  handleComposed(text) {
    if (this.enabled && text !== "" && !this.composedAsKey) this.type(text);
    this.composedAsKey = false;
    this.field.value = FILLER;
  }

  /** @param {MouseEvent} event */
  handleMouseDown(event) {
    if (!this.enabled) return;
    event.preventDefault();
    this.onGesture();
    this.focus();
    if (this.awaitsLock) {
      // The click that locks the pointer is not the app's.
      void this.lockPointer();
      return;
    }
    this.discrete({ t: "button", button: event.button, down: true, ...this.where(event) });
  }

  /** @param {MouseEvent} event */
  handleMouseUp(event) {
    if (!this.held.has(`button ${event.button}`)) return;
    event.preventDefault();
    this.discrete({ t: "button", button: event.button, down: false, ...this.where(event) });
  }

  /** @param {MouseEvent} event */
  handleMouseMove(event) {
    if (!this.enabled) return;
    if (this.locked) {
      const scale = this.screen.pixelsPerPoint;
      this.queue.handleRelative(event.movementX * scale, event.movementY * scale);
    } else if (!this.awaitsLock) {
      const { x, y } = this.screen.fractionAt(event.clientX, event.clientY);
      this.queue.handleMove(x, y);
    }
    this.motion();
  }

  /** @param {MouseEvent} event @returns {{x?: number, y?: number}} */
  where(event) {
    return this.locked ? {} : this.screen.fractionAt(event.clientX, event.clientY);
  }

  /** @param {WheelEvent} event */
  handleWheel(event) {
    if (!this.enabled) return;
    event.preventDefault();
    const unit = event.deltaMode === WheelEvent.DOM_DELTA_PIXEL ? PIXELS_PER_NOTCH : event.deltaMode === WheelEvent.DOM_DELTA_LINE ? LINES_PER_NOTCH : 1;
    this.queue.handleWheel(event.deltaX / unit, event.deltaY / unit);
    this.motion();
  }

  async lockPointer() {
    try {
      await this.canvas.requestPointerLock({ unadjustedMovement: true });
    } catch {
      // Not every system can leave out its own acceleration.
      await this.lockPlainly();
    }
  }

  async lockPlainly() {
    try {
      await this.canvas.requestPointerLock();
    } catch {
      // Refused again, as just after the person has left it: the pointer stays as it is, and the next click asks anew.
    }
  }

  /** @param {import("./events.js").Discrete} event */
  discrete(event) {
    if (!this.enabled) return;
    if (event.t === "key" || event.t === "button" || event.t === "gamepad") this.note(event);
    this.queue.handleDiscrete(event);
    this.flush();
  }

  /** @param {Press} press */
  note(press) {
    const what = `${press.t} ${press.t === "key" ? press.code : press.button}`;
    if (press.down) this.held.set(what, press);
    else this.held.delete(what);
  }

  /** Lets motion out: now after a pause, else with the next frame. */
  motion() {
    if (performance.now() - this.sentMotionAt > MOTION_PAUSE_MS) {
      this.flush();
      return;
    }
    if (this.frameAsked) return;
    this.frameAsked = true;
    requestAnimationFrame(() => {
      this.frameAsked = false;
      this.flush();
    });
  }

  flush() {
    const events = this.queue.takeFrame();
    if (!events) return;
    this.sentMotionAt = performance.now();
    this.send(events);
  }

  /** Lets go of everything: nobody would tell the app later. */
  release() {
    this.gamepad.forget();
    this.afterDead = false;
    this.clearWaiting();
    if (this.held.size === 0) return;
    this.held.clear();
    this.discrete({ t: "release" });
  }
}

/** @param {KeyboardEvent} event */
function isPaste(event) {
  const { code } = event;
  return ((event.ctrlKey || event.metaKey) && code === "KeyV") || (event.shiftKey && code === "Insert");
}

/**
 * A letter that no key of the app's own layout gives, or none at the same place: it goes as text. Other ASCII goes by the
 * place of the key, whatever the layout here, because games and shortcuts mean places.
 * @param {KeyboardEvent} event
 */
function isForeignLetter(event) {
  if (!isCharacter(event)) return false;
  return event.getModifierState("AltGraph") || (!event.ctrlKey && !event.altKey && event.key > "\u007e");
}

/** @param {KeyboardEvent} event */
function isCharacter(event) {
  return !event.metaKey && [...event.key].length === 1;
}

/** @param {KeyboardEvent} event */
function isModifier(event) {
  return ["Shift", "Control", "Alt", "Meta", "CapsLock"].includes(event.key);
}
