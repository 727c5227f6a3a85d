// The hand of a person in a real browser, and what real X programs get of it: clipboard, scripts, gamepad, pointer, size.

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";

import { Cloud, LIMIT_MS, missing, openBrowser, play, shown, until, withProfile } from "./harness.mjs";

/** X's numbers of keys, as evdev counts them. */
const KEY_A = 38;
const KEY_UP = 111;
/** The word that the terminal program shows, and what is in its first line of pixels. */
const WORD = "quetzalcoatl";
const WORD_AT = { x: 36, y: 8 };
/** A window whose room for the picture is 1280 by 720: a point is a pixel. */
const EXACT = { viewport: { width: 1_280, height: 768 } };
const PHONE = { viewport: { width: 390, height: 780 }, deviceScaleFactor: 2, isMobile: true, hasTouch: true };

/** A terminal program, unmodified, whose shell prints the lines it is given. Its clipboard is on Ctrl+V. */
const TERMINAL = `
name = "words"
kind = "stream"
requires = ["/usr/bin/xterm"]
command = ["/bin/sh", "-c", """
export PRINTED=/proc/$$/fd/1
exec xterm -u8 -b 0 -geometry 120x40+0+0 -xrm 'XTerm*selectToClipboard: true' \\
  -xrm 'XTerm*VT100.translations: #override Ctrl <Key>V: insert-selection(CLIPBOARD)' \\
  -e sh -c 'echo ${WORD}; echo ready > $PRINTED; cat > $PRINTED'
"""]
[env]
LANG = "C.UTF-8"
[screen]
width = 1280
height = 720
content = "text"
[resources]
cpu = 0.1
memory = "64MB"
[access]
public = true
`;

describe("the hand", { skip: missing(), timeout: 300_000 }, () => {
  /** @type {Cloud} */
  let cloud;
  /** @type {import("playwright-core").Browser} */
  let browser;

  before(async () => {
    cloud = await Cloud.start();
    browser = await openBrowser();
    const probe = { animate: false, args: ["--tell"] };
    await cloud.deployProbe("probe-desk", { ...probe, resizable: true, input: `[input.gamepad]\nbutton0 = "KeyA"\nbutton12 = "ArrowUp"` });
    await cloud.deployProbe("probe-game", { ...probe, input: "[input]\nrelative_pointer = true" });
    await cloud.api("POST", "/v1/apps", { manifest: TERMINAL });
  });

  after(async () => {
    await browser?.close();
    await cloud?.stop();
  });

  const inProfile = (run, options) => () => withProfile(browser, run, options);

  test(
    "what the app copies is in the browser's clipboard, and what is pasted is in the app's",
    inProfile(async (context) => {
      const page = await terminal(context);
      const allow = await clipboardSwitch(context, page);
      await allow(true);
      await page.evaluate(() => navigator.clipboard.writeText("nothing yet"));
      const { x, y } = await pointAt(page, WORD_AT);
      await page.mouse.dblclick(x, y);
      await untilCopied(page, WORD);
      // With its line's end: programs ask for a clipboard and go on, so that a key pressed now may overtake it.
      await page.evaluate(() => navigator.clipboard.writeText("from outside: é 你好\n"));
      await page.keyboard.press("Control+V");
      await untilPrinted(page, (lines) => lines.includes("from outside: é 你好"));
      // Old programs have it on another key.
      await page.evaluate(() => navigator.clipboard.writeText("once more\n"));
      await page.keyboard.press("Shift+Insert");
      await untilPrinted(page, (lines) => lines.includes("once more"));
    }),
  );

  test(
    "offers a button where the browser keeps its clipboard to itself",
    inProfile(async (context) => {
      const page = await terminal(context);
      const allow = await clipboardSwitch(context, page);
      await allow(true);
      await page.evaluate(() => navigator.clipboard.writeText("nothing yet"));
      await allow(false);
      const { x, y } = await pointAt(page, WORD_AT);
      await page.mouse.dblclick(x, y);
      await page.getByText(`The app copied “${WORD}”`).waitFor();
      await allow(true);
      await page.getByRole("button", { name: "Copy", exact: true }).click();
      await untilCopied(page, WORD);
      assert.ok(await page.locator("#toast").isHidden());
    }),
  );

  test(
    "other scripts, input methods, dead keys and AltGr give the letters a person sees",
    inProfile(async (context) => {
      const page = await terminal(context);
      await page.keyboard.insertText("é ß 你好");
      await page.keyboard.press("Enter");
      await untilPrinted(page, (lines) => lines.includes("é ß 你好"));

      const cdp = await context.newCDPSession(page);
      for (const text of ["s", "sh", "shijie"]) await cdp.send("Input.imeSetComposition", { text, selectionStart: text.length, selectionEnd: text.length });
      await cdp.send("Input.insertText", { text: "世界" });
      await page.keyboard.press("Enter");
      await untilPrinted(page, (lines) => lines.includes("世界"));

      // A German keyboard: the dead acute and e, then the at sign.
      await strike(cdp, { key: "Dead", code: "Equal", windowsVirtualKeyCode: 187 });
      await strike(cdp, { key: "é", code: "KeyE", windowsVirtualKeyCode: 69 });
      await page.evaluate(pressAltGr, { key: "@", code: "KeyQ" });
      await page.keyboard.press("Enter");
      await untilPrinted(page, (lines) => lines.includes("é@"));
    }),
  );

  test(
    "a phone's own keyboard types, rubs out and goes to the next line",
    inProfile(async (context) => {
      const page = await terminal(context);
      const cdp = await context.newCDPSession(page);
      assert.ok(!(await atField(page)), "the keyboard does not come up by itself");
      await page.getByRole("button", { name: "Keyboard", exact: true }).tap();
      await until(page, () => document.activeElement?.id === "field");
      await page.keyboard.insertText("né你x");
      // As on-screen keyboards do: no key, only what it does to the field.
      const soft = (command) => strike(cdp, { key: "Unidentified", code: "", windowsVirtualKeyCode: 229, commands: [command] });
      await soft("deleteBackward");
      await soft("insertNewline");
      await untilPrinted(page, (lines) => lines.includes("né你"));
      // Ctrl+U clears the line, also where the keyboard composes words.
      await page.keyboard.insertText("gone");
      await page.getByRole("button", { name: "Ctrl", exact: true }).tap();
      await page.keyboard.insertText("u");
      await page.keyboard.insertText("kept");
      await soft("insertNewline");
      await untilPrinted(page, (lines) => lines.at(-1) === "kept");
      await page.keyboard.insertText("gone");
      await page.getByRole("button", { name: "Ctrl", exact: true }).tap();
      await cdp.send("Input.imeSetComposition", { text: "u", selectionStart: 1, selectionEnd: 1 });
      await page.keyboard.insertText("too");
      await soft("insertNewline");
      await untilPrinted(page, (lines) => lines.at(-1) === "too");
      assert.ok(await atField(page), "the keys leave the keyboard open");
      const { x, y } = await pointAt(page, { x: 600, y: 300 });
      await page.touchscreen.tap(x, y);
      assert.ok(await atField(page), "a tap on the picture leaves it open");
      await page.getByRole("button", { name: "Keyboard", exact: true }).tap();
      await until(page, () => document.activeElement?.id !== "field" && document.getElementById("keys").hidden);
    }, PHONE),
  );

  test(
    "a gamepad presses the keys that the manifest says, and not for a window behind",
    inProfile(async (context) => {
      const page = await play(context, cloud, "probe-desk");
      await page.evaluate(plugIn);
      const hold = (buttons, axes = [0, 0]) => page.evaluate(({ buttons, axes }) => Object.assign(window.pad, { buttons: buttons.map((pressed) => ({ pressed })), axes }), { buttons, axes });
      await hold([true]);
      await untilToldLast(page, "key", [`key ${KEY_A} down`]);
      await hold([false], [0, -1]);
      await untilToldLast(page, "key", [`key ${KEY_UP} down`, `key ${KEY_A} up`]);
      await hold([true], [0, 0]);
      await untilTold(page, "key", (told) => told.includes(`key ${KEY_UP} up`) && told.filter((it) => it === `key ${KEY_A} down`).length === 2);
      await behind(context, page, async () => {
        await untilToldLast(page, "key", [`key ${KEY_A} up`]);
      });
      // It is held all the while.
      await untilToldLast(page, "key", [`key ${KEY_A} down`]);
    }),
  );

  test(
    "a locked pointer moves by what the hand moves, and the way out is said and works",
    inProfile(async (context) => {
      const page = await play(context, cloud, "probe-game");
      await page.getByText("Click the picture to give it the mouse.").waitFor();
      const { x, y } = await pointAt(page, { x: 640, y: 360 });
      await page.mouse.click(x, y);
      await until(page, () => document.pointerLockElement?.id === "screen");
      await page.getByText("Press Esc to get the mouse back.").waitFor();
      await page.mouse.move(x + 1, y);
      const [, left, top] = (await untilTold(page, "pointer", (told) => told.length > 0)).at(-1).split(" ").map(Number);
      await page.mouse.move(x + 101, y - 60);
      await untilToldLast(page, "pointer", [`pointer ${left + 100} ${top - 60}`]);
      await page.mouse.move(x - 50, y + 20);
      await untilToldLast(page, "pointer", [`pointer ${left - 51} ${top + 20}`]);
      await page.mouse.down();
      await page.mouse.up();
      const buttons = await untilTold(page, "button", (told) => told.includes("button 1 up"));
      assert.deepEqual(buttons, ["button 1 down", "button 1 up"], "the click that gave the mouse away is not the app's");
      await page.keyboard.press("Control+Alt+M");
      await until(page, () => document.pointerLockElement === null && document.activeElement?.closest("#tools") !== null);
      await page.getByText("Click the picture to give it the mouse.").waitFor();
    }, EXACT),
  );

  test(
    "fullscreen is entered and left by its button, and says how to leave",
    inProfile(async (context) => {
      const page = await play(context, cloud, "probe-desk");
      await page.getByRole("button", { name: "Fullscreen", exact: true }).click();
      await until(page, () => document.fullscreenElement?.id === "stage");
      await page.getByText(/Esc to leave fullscreen/).waitFor();
      await page.evaluate(() => document.exitFullscreen());
      await page.getByText(/Esc to leave fullscreen/).waitFor({ state: "hidden" });
    }),
  );

  test(
    "every button, the wheel both ways, a drag beyond the picture; and nothing stays pressed behind another window",
    inProfile(async (context) => {
      const page = await play(context, cloud, "probe-desk");
      const { x, y } = await pointAt(page, { x: 400, y: 300 });
      await page.mouse.click(x, y, { button: "right" });
      await untilToldLast(page, "button", ["button 3 down", "button 3 up"]);
      await page.mouse.click(x, y, { button: "middle" });
      await untilToldLast(page, "button", ["button 2 down", "button 2 up"]);
      for (const [dx, dy, button] of [[0, 100, 5], [0, -100, 4], [100, 0, 7], [-100, 0, 6]]) {
        await page.mouse.wheel(dx, dy);
        await untilToldLast(page, "button", [`button ${button} down`, `button ${button} up`]);
      }
      await page.mouse.down();
      await page.mouse.move(x, 4, { steps: 3 });
      await untilToldLast(page, "pointer", [`pointer 400 0`]);
      await page.keyboard.down("a");
      await untilToldLast(page, "key", [`key ${KEY_A} down`]);
      await behind(context, page, async () => {
        await untilToldLast(page, "key", [`key ${KEY_A} up`]);
        await untilToldLast(page, "button", ["button 1 down", "button 1 up"]);
      });
    }),
  );

  test(
    "a finger is a pointer, two scroll, a tap of two is the right button",
    inProfile(async (context) => {
      const page = await play(context, cloud, "probe-desk");
      const cdp = await context.newCDPSession(page);
      const size = await page.evaluate(() => window.selvedge.state().hello);
      const { x, y } = await pointAt(page, { x: 200, y: 400 });
      await page.touchscreen.tap(x, y);
      await untilToldLast(page, "button", ["button 1 down", "button 1 up"]);
      const [, toldX, toldY] = (await untilTold(page, "pointer", (told) => told.length > 0)).at(-1).split(" ");
      assert.ok(Math.abs(toldX - 200) <= 2 && Math.abs(toldY - 400) <= 2, `${toldX} ${toldY} of ${size.width} by ${size.height}`);
      const touch = (type, ...ys) => cdp.send("Input.dispatchTouchEvent", { type, touchPoints: ys.map((y, id) => ({ x: x + id * 60, y, id })) });
      await touch("touchStart", y);
      await touch("touchStart", y, y);
      await touch("touchEnd");
      await untilToldLast(page, "button", ["button 3 down", "button 3 up"]);
      await touch("touchStart", y);
      await touch("touchStart", y, y);
      for (let moved = 0; moved <= 100; moved += 20) await touch("touchMove", y - moved, y - moved);
      await touch("touchEnd");
      await untilToldLast(page, "button", ["button 5 down", "button 5 up"]);
    }, PHONE),
  );

  test(
    "the screen follows the window: smaller, larger, on its side",
    inProfile(async (context) => {
      const page = await play(context, cloud, "probe-desk");
      for (const viewport of [{ width: 900, height: 600 }, { width: 1_400, height: 900 }, { width: 500, height: 800 }]) {
        await page.setViewportSize(viewport);
        const size = await page.evaluate(() => {
          const { clientWidth, clientHeight } = document.getElementById("stage");
          return { width: clientWidth & ~1, height: clientHeight & ~1 };
        });
        await untilToldLast(page, "size", [`size ${size.width}x${size.height}`]);
        await until(page, pictureIs, size);
        // The lowest row is the program's own, which has filled its new screen.
        await until(page, () => window.selvedge.pixel(0.99, 0.99)[2] > 60);
        // The pointer is where it is seen.
        const { x, y } = await pointAt(page, { x: size.width - 40, y: size.height - 60 });
        await page.mouse.move(x, y);
        await untilToldLast(page, "pointer", [`pointer ${size.width - 40} ${size.height - 60}`]);
      }
    }),
  );

  /** Opens the terminal program with the pointer, and so the keys, in it. */
  async function terminal(context) {
    const page = await play(context, cloud, "words");
    await shown(page);
    await untilPrinted(page, (lines) => lines.includes("ready"));
    // Its first line is on the screen.
    await until(page, () => window.selvedge.pixel(0.4, 0.4).every((part) => part > 200));
    return page;
  }

  /** Waits until the app has printed something. */
  async function untilPrinted(page, condition) {
    const end = Date.now() + LIMIT_MS;
    for (;;) {
      const lines = (await cloud.printed(page)).filter((line) => line.startsWith("stdout: ")).map((line) => line.slice("stdout: ".length));
      if (condition(lines)) return lines;
      assert.ok(Date.now() < end, `not within ${LIMIT_MS} ms: ${condition}\nprinted ${lines.slice(-20).join("\n")}`);
      await new Promise((resolve) => setTimeout(resolve, 40));
    }
  }

  /** Waits for what the test program was told of keys, buttons, the pointer or its size. */
  async function untilTold(page, kind, condition) {
    const of = (lines) => lines.filter((line) => line.startsWith(`${kind} `));
    return of(await untilPrinted(page, (lines) => condition(of(lines))));
  }

  /** Waits until the last that it was told is this. */
  async function untilToldLast(page, kind, expected) {
    try {
      await untilTold(page, kind, (told) => told.slice(-expected.length).join() === expected.join());
    } catch (error) {
      throw new Error(`expected ${expected.join()}: ${error.message}`);
    }
  }
});

/** Where a pixel of the app lies in the window. */
function pointAt(page, { x, y }) {
  return page.evaluate(
    ({ x, y }) => {
      const box = document.getElementById("screen").getBoundingClientRect();
      // Of the app itself: the picture may be smaller on a slow machine.
      const { width, height } = window.selvedge.state().hello;
      // Its middle.
      return { x: box.x + ((x + 0.5) * box.width) / width, y: box.y + ((y + 0.5) * box.height) / height };
    },
    { x, y },
  );
}

/** Runs in the page: the picture is of a screen of that size, perhaps smaller but of that shape. */
function pictureIs({ width, height }) {
  const { hello } = window.selvedge.state();
  const stats = window.selvedge.stats();
  return hello.width === width && hello.height === height && Math.abs(stats.width / stats.height - width / height) < 0.02;
}

/** What gives the page the clipboard, or takes it away. */
async function clipboardSwitch(context, page) {
  // What it says holds as long as it lives.
  const cdp = await context.newCDPSession(page);
  const { targetInfo } = await cdp.send("Target.getTargetInfo");
  const where = { origin: new URL(page.url()).origin, browserContextId: targetInfo.browserContextId };
  return async (allowed) => {
    const setting = allowed ? "granted" : "denied";
    await cdp.send("Browser.setPermission", { permission: { name: "clipboard-read" }, setting, ...where });
    await cdp.send("Browser.setPermission", { permission: { name: "clipboard-write", allowWithoutSanitization: false }, setting, ...where });
  };
}

/** Waits until the browser's clipboard holds a text. All of its pages share it. */
async function untilCopied(page, text) {
  const end = Date.now() + LIMIT_MS;
  for (;;) {
    const held = await page.evaluate(() => navigator.clipboard.readText());
    if (held === text) return;
    assert.ok(Date.now() < end, `not within ${LIMIT_MS} ms: the clipboard holds “${held}”`);
    await new Promise((resolve) => setTimeout(resolve, 25));
  }
}

/** Runs something while another window is in front of the page, as far as the page can tell. */
async function behind(context, page, run) {
  const cdp = await context.newCDPSession(page);
  await cdp.send("Emulation.setFocusEmulationEnabled", { enabled: false });
  const other = await context.newPage();
  await other.bringToFront();
  await until(page, () => !document.hasFocus());
  await run();
  await other.close();
  await cdp.send("Emulation.setFocusEmulationEnabled", { enabled: true });
  await page.bringToFront();
  await until(page, () => document.hasFocus());
}

/** Presses a key as a keyboard of another country, or none, does. */
async function strike(cdp, key) {
  await cdp.send("Input.dispatchKeyEvent", { type: "rawKeyDown", ...key });
  await cdp.send("Input.dispatchKeyEvent", { type: "keyUp", ...key, commands: [] });
}

function atField(page) {
  return page.evaluate(() => document.activeElement?.id === "field");
}

/** Runs in the page: AltGr, as Linux tells of it, and a key with it. The protocol of browsers' tests knows no AltGr. */
function pressAltGr({ key, code }) {
  const field = document.getElementById("field");
  const tell = (type, init) => field.dispatchEvent(new KeyboardEvent(type, { bubbles: true, cancelable: true, modifierAltGraph: true, ...init }));
  tell("keydown", { key: "AltGraph", code: "AltRight" });
  tell("keydown", { key, code });
  tell("keyup", { key, code });
  tell("keyup", { key: "AltGraph", code: "AltRight" });
}

/** Runs in the page: there is no gamepad on a machine for tests, so the browser is made to say that there is. */
function plugIn() {
  window.pad = { buttons: [], axes: [0, 0] };
  navigator.getGamepads = () => [window.pad, null];
  window.dispatchEvent(new Event("gamepadconnected"));
}
