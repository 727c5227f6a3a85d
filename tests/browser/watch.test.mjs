// The viewer's page in a real browser against a real cloud: cameras are real ffmpeg processes that publish by RTMP.

import assert from "node:assert/strict";
import { spawn, spawnSync } from "node:child_process";
import { after, before, describe, test } from "node:test";

import { BINARY, Cloud, missing, openBrowser, until, withProfile } from "./harness.mjs";
import { Link } from "./link.mjs";

/** Around the event, a quarter turn from one to the next, each with a colour of its own along the lower edge. */
const CAMERAS = {
  south: { position: [0, -10, 2], colour: "red", rgb: [255, 0, 0] },
  east: { position: [10, 0, 2], colour: "lime", rgb: [0, 255, 0] },
  north: { position: [0, 10, 2], colour: "blue", rgb: [0, 0, 255] },
  west: { position: [-10, 0, 2], colour: "white", rgb: [255, 255, 255] },
};
/** How far sound and picture may be apart, in milliseconds. */
const SYNC_MS = 45;
/** The longest time without a picture that anything but a dead entry may cost, on a machine that does all of this at once. */
const GAP_LIMIT_MS = 1_000;
/** From a hand's move to the first picture of another camera, on the same machine. */
const SWITCH_LIMIT_MS = 1_500;

const noFfmpeg = () => (spawnSync("ffmpeg", ["-version"]).error ? "ffmpeg is not installed" : false);

describe("the viewer's page", { skip: missing() || noFfmpeg(), timeout: 600_000 }, () => {
  /** @type {Cloud} */
  let cloud;
  /** @type {import("playwright-core").Browser} */
  let browser;
  /** @type {Map<string, import("node:child_process").ChildProcess>} */
  const publishers = new Map();
  let target = "";
  let key = "";

  before(async () => {
    cloud = await Cloud.start();
    browser = await openBrowser();
    await deploy(cloud, "ring", true);
    await deploy(cloud, "closed", false);
    ({ target, key } = await wayIn("ring"));
  });

  after(async () => {
    for (const child of publishers.values()) child.kill("SIGKILL");
    await browser?.close();
    await cloud?.stop();
  });

  /** Where and with which key an event's cameras publish. @param {string} event */
  const wayIn = async (event) => {
    const { ingest } = await cloud.api("GET", `/v1/live/${event}`);
    const { key } = await cloud.api("POST", `/v1/live/${event}/keys`, { label: "test" });
    return { target: ingest.find(({ site }) => site === "frankfurt").rtmp, key };
  };

  /** Puts a camera on the air. @param {keyof typeof CAMERAS} name */
  const publish = (name, into = { target, key }) => {
    const picture = `testsrc2=size=640x360:rate=30,drawbox=y=ih-60:h=60:color=${CAMERAS[name].colour}:t=fill`;
    const child = spawn(
      "ffmpeg",
      ["-v", "error", "-re", "-f", "lavfi", "-i", picture, "-re", "-f", "lavfi", "-i", "sine=frequency=440:sample_rate=48000"].concat(
        ["-c:v", "libx264", "-preset", "ultrafast", "-tune", "zerolatency", "-pix_fmt", "yuv420p", "-g", "15", "-b:v", "900k", "-maxrate", "900k", "-bufsize", "900k"],
        ["-c:a", "aac", "-b:a", "96k", "-f", "flv", `${into.target}/${name}?key=${into.key}`],
      ),
      { stdio: "ignore" },
    );
    publishers.set(name, child);
  };

  /** Puts a camera on the air through standard input, coded otherwise. @param {keyof typeof CAMERAS} name @param {string[]} codec */
  const publishByInput = (name, codec) => {
    const picture = `testsrc2=size=320x180:rate=30,drawbox=y=ih-30:h=30:color=${CAMERAS[name].colour}:t=fill`;
    const ffmpeg = spawn(
      "ffmpeg",
      ["-v", "error", "-re", "-f", "lavfi", "-i", picture, "-c:v"].concat(codec, ["-pix_fmt", "yuv420p", "-g", "15", "-b:v", "400k"], ["-f", "mp4", "-movflags", "+frag_every_frame+delay_moov+default_base_moof", "-"]),
      { stdio: ["ignore", "pipe", "ignore"] },
    );
    const camera = spawn(BINARY, ["live", "publish", `ring/${name}`, "--center", cloud.ready.center], {
      stdio: [ffmpeg.stdout, "ignore", "ignore"],
      env: { ...process.env, SELVEDGE_STREAM_KEY: key },
    });
    camera.once("exit", () => ffmpeg.kill("SIGKILL"));
    publishers.set(name, camera);
  };

  /** Takes a camera off the air. @param {keyof typeof CAMERAS} name */
  const unpublish = (name) => {
    publishers.get(name)?.kill("SIGKILL");
    publishers.delete(name);
  };

  const allOnAir = (page) => until(page, (count) => window.selvedge?.state().on_air.length === count, Object.keys(CAMERAS).length);

  const inProfile = (run, options) => () => withProfile(browser, run, options);

  test(
    "waits for the first camera, in words, and shows it by itself",
    inProfile(async (context) => {
      const page = await watch(context, cloud, "ring");
      await page.getByText("No camera is on air yet").waitFor();
      publish("south");
      await untilSeen(page, "south");
      await page.getByText("1 of 4 cameras on air").waitFor();
      for (const name of ["east", "north", "west"]) publish(name);
      await allOnAir(page);
      await page.getByText("No camera is on air yet").waitFor({ state: "hidden" });
    }),
  );

  test(
    "turns by keys, by a drag and by name, and receives one view",
    inProfile(async (context) => {
      const page = await watch(context, cloud, "ring");
      await allOnAir(page);
      await untilSeen(page, "south");
      await page.evaluate(() => window.selvedge.resetGaps());
      await page.keyboard.press("ArrowRight");
      await untilSeen(page, "east");
      await page.keyboard.press("ArrowRight");
      await untilSeen(page, "north");
      await page.keyboard.press("ArrowLeft");
      await untilSeen(page, "east");
      // A slow drag to the right: the event turns with the hand, and the viewer goes back around it.
      await page.mouse.move(300, 400);
      await page.mouse.down();
      for (let x = 300; x <= 1_080; x += 20) {
        await page.mouse.move(x, 400);
        await page.waitForTimeout(20);
      }
      await page.mouse.up();
      await untilSeen(page, "south");
      await page.getByRole("button", { name: "west", exact: true }).first().click();
      await untilSeen(page, "west");
      const stats = await until(page, () => {
        const stats = window.selvedge.stats();
        const { feeds } = window.selvedge.state();
        // At rest there is one view, in the best form, and nothing is left of the others.
        return feeds.length === 1 && stats.rendition === "source" && stats.all_views_bps > 3.5 * stats.bitrate_bps && stats;
      });
      assert.ok(stats.bitrate_bps > 100_000, `${stats.bitrate_bps} bit/s`);
      const to = stats.switches.map(({ to }) => to);
      assert.deepEqual(to, ["east", "north", "east", "south", "west"]);
      for (const it of stats.switches) assert.ok(it.ms < SWITCH_LIMIT_MS, JSON.stringify(it));
      assert.ok(stats.max_gap_ms < GAP_LIMIT_MS, `${stats.max_gap_ms} ms without a picture`);
    }),
  );

  test(
    "plays the event's sound in step with the picture, whatever is seen",
    inProfile(async (context) => {
      const page = await watch(context, cloud, "ring");
      await allOnAir(page);
      await untilSeen(page, "south");
      await page.getByRole("button", { name: "Sound is off (M)" }).click();
      await inStep(page);
      await page.keyboard.press("ArrowRight");
      await untilSeen(page, "east");
      await inStep(page);
      await page.getByRole("button", { name: "Pause (space)" }).click();
      const { frames } = await page.evaluate(() => window.selvedge.stats());
      await until(page, () => window.selvedge.state().feeds.length === 0 && window.selvedge.stats().bitrate_bps === 0);
      assert.equal((await page.evaluate(() => window.selvedge.stats())).frames, frames, "a pause stands still");
      await page.keyboard.press("Escape");
      await page.getByRole("button", { name: "Go on, live (space)" }).click();
      await until(page, (frames) => window.selvedge.stats().frames > frames + 20, frames);
    }),
  );

  test(
    "shows the next camera when one goes off the air, says so, and takes it back",
    inProfile(async (context) => {
      const page = await watch(context, cloud, "ring");
      await allOnAir(page);
      await page.evaluate(() => window.selvedge.choose("north"));
      await untilSeen(page, "north");
      unpublish("north");
      await page.getByText(/north went off the air\. You see (east|west) now\./).waitFor();
      await until(page, () => ["east", "west"].includes(window.selvedge.stats().camera));
      publish("north");
      await untilSeen(page, "north");
    }),
  );

  test(
    "enters elsewhere when the viewer moves, and when the entry dies",
    inProfile(async (context) => {
      const page = await watch(context, cloud, "ring", { city: "Berlin" });
      await allOnAir(page);
      await untilSeen(page, "south");
      assert.equal(await page.evaluate(() => window.selvedge.state().entry_site), "frankfurt");
      await page.evaluate(() => window.selvedge.resetGaps());
      await page.getByLabel("I am in").selectOption("Tokyo");
      await until(page, () => window.selvedge.state().entry_site === "shanghai" && window.selvedge.stats().camera === "south");
      await framesMore(page, 30);
      const { max_gap_ms: gap } = await page.evaluate(() => window.selvedge.stats());
      assert.ok(gap < GAP_LIMIT_MS, `${gap} ms without a picture`);
      const { items: nodes } = await cloud.api("GET", "/v1/nodes");
      assert.ok(nodes.some(({ site }) => site === "shanghai"));
      process.kill(cloud.ready.sites.find(({ name }) => name === "shanghai").pid, "SIGKILL");
      await until(page, () => window.selvedge.state().moves > 1 && window.selvedge.state().state === "watching");
      await framesMore(page, 30);
    }),
  );

  test(
    "receives less when the link falls, and more again when it is back",
    inProfile(async (context) => {
      const link = await Link.between(context);
      try {
        const page = await watch(context, cloud, "ring");
        await allOnAir(page);
        await until(page, () => window.selvedge.stats().rendition === "source");
        link.bitsPerSecond = 600_000;
        await until(page, () => window.selvedge.stats().rendition === "small");
        await page.evaluate(() => window.selvedge.resetGaps());
        const { stalls } = await page.evaluate(() => window.selvedge.stats());
        await framesMore(page, 60);
        assert.equal((await page.evaluate(() => window.selvedge.stats())).stalls, stalls, "the smaller one comes without a stall");
        link.bitsPerSecond = Infinity;
        await until(page, () => window.selvedge.stats().rendition === "source", undefined, 60_000);
      } finally {
        link.close();
      }
    }),
  );

  test(
    "goes on, and turns, where one packet in a hundred is lost, and one in twenty",
    inProfile(async (context) => {
      const link = await Link.between(context);
      try {
        const page = await watch(context, cloud, "ring");
        await allOnAir(page);
        await untilSeen(page, "south");
        for (const loss of [0.01, 0.05]) {
          link.loss = loss;
          const before = link.lost;
          for (const camera of ["east", "north", "west", "south"]) {
            await page.keyboard.press("ArrowRight");
            await untilSeen(page, camera);
            await framesMore(page, 30);
          }
          assert.ok(link.lost > before + 200 * loss, `${link.lost - before} packets of a hundred times ${loss * 100} were lost`);
        }
        assert.equal((await page.evaluate(() => window.selvedge.state())).moves, 0, "the entry is not left for it");
      } finally {
        link.close();
      }
    }),
  );

  test(
    "shows AV1 and VP9 as they were sent, among cameras of H.264",
    inProfile(async (context) => {
      const page = await watch(context, cloud, "ring");
      await allOnAir(page);
      await untilSeen(page, "south");
      const codecs = {
        east: ["libvpx-vp9", "-deadline", "realtime", "-cpu-used", "8"],
        west: ["libaom-av1", "-usage", "realtime", "-cpu-used", "8"],
      };
      for (const [name, codec] of Object.entries(codecs)) {
        unpublish(name);
        publishByInput(name, codec);
      }
      try {
        await until(page, () => {
          const { codecs } = window.selvedge.state();
          return codecs.east?.startsWith("vp09") && codecs.west?.startsWith("av01");
        });
        for (const [key, camera] of [["ArrowRight", "east"], ["ArrowLeft", "south"], ["ArrowLeft", "west"]]) {
          await page.keyboard.press(key);
          await untilSeen(page, camera);
          await framesMore(page, 30);
        }
      } finally {
        for (const name of Object.keys(codecs)) {
          unpublish(name);
          publish(name);
        }
      }
    }),
  );

  test(
    "shows an event of which edges make nothing smaller",
    inProfile(async (context) => {
      await deploy(cloud, "plain", true, "");
      const page = await watch(context, cloud, "plain");
      const before = publishers.get("south");
      publish("south", await wayIn("plain"));
      try {
        await untilSeen(page, "south");
        await framesMore(page, 30);
        assert.deepEqual(await page.evaluate(() => window.selvedge.state().forms.map(({ name }) => name)), ["source"]);
      } finally {
        unpublish("south");
        if (before) publishers.set("south", before);
      }
    }),
  );

  test(
    "watches over a WebSocket where WebTransport is missing, on a phone, upright",
    inProfile(
      async (context) => {
        const page = await watch(context, cloud, "ring", { query: "?transport=websocket" });
        await allOnAir(page);
        await untilSeen(page, "south");
        assert.equal(await page.evaluate(() => window.selvedge.stats().transport), "websocket");
        for (const name of ["Pause (space)", "Tour of all cameras (T)", "All cameras (C)", "Fullscreen (F)"]) {
          const box = await page.getByRole("button", { name }).boundingBox();
          assert.ok(box.x >= 0 && box.x + box.width <= 390 && box.y + box.height <= 844, `${name} is at ${JSON.stringify(box)}`);
          assert.ok(box.height >= 36, `${name} is ${box.height} high`);
        }
        await page.getByRole("button", { name: "All cameras (C)" }).tap();
        await page.locator(".thumb", { hasText: "west" }).tap();
        await untilSeen(page, "west");
        // Pictures of cameras that were never looked at come by themselves.
        await page.locator('.thumb[data-seen="true"]', { hasText: "north" }).waitFor();
      },
      { viewport: { width: 390, height: 844 }, hasTouch: true, isMobile: true },
    ),
  );

  test(
    "says in words what is wrong: no such event, not public, a program",
    inProfile(async (context) => {
      const page = await context.newPage();
      await cloud.deployProbe("program");
      for (const [name, words] of [
        ["nosuch", "“nosuch” is not open to everyone, or not here"],
        ["closed", "“closed” is not open to everyone, or not here"],
        ["program", "“program” cannot be watched"],
      ]) {
        await page.goto(cloud.watch(name));
        await page.getByText(words).waitFor();
      }
    }),
  );
});

/** What edges make of cameras where nothing else is said. */
const SMALL = `
    [[renditions]]
    name = "small"
    height = 180
    bitrate_kbps = 200
    group_ms = 400
`;

/** @param {Cloud} cloud @param {string} name @param {boolean} open */
async function deploy(cloud, name, open, renditions = SMALL) {
  const cameras = Object.entries(CAMERAS).map(([camera, { position }]) => `[[cameras]]\nname = "${camera}"\nposition = ${JSON.stringify(position)}`);
  const manifest = `
    name = "${name}"
    kind = "live"
    ${renditions === "" ? "renditions = []" : ""}
    [access]
    public = ${open}
    ${cameras.join("\n")}
    ${renditions}
  `;
  await cloud.api("POST", "/v1/apps", { manifest });
}

/** Opens an event in a city. */
async function watch(context, cloud, event, { city = "Berlin", query = "" } = {}) {
  const page = await context.newPage();
  await page.addInitScript(
    ({ city, places }) => {
      if (!localStorage.getItem("selvedge.place")) localStorage.setItem("selvedge.place", JSON.stringify(places.find(({ name }) => name === city)));
    },
    { city, places: (await cloud.api("GET", "/v1/places")).items },
  );
  await page.goto(cloud.watch(event, query));
  return page;
}

/** Waits until a camera's own colour is on the screen, which no other part of the page could bring there. */
async function untilSeen(page, camera) {
  await until(
    page,
    ({ camera, rgb }) => {
      if (window.selvedge?.stats().camera !== camera) return false;
      const pixel = window.selvedge.pixel(0.5, 0.95);
      return pixel.every((value, channel) => Math.abs(value - rgb[channel]) < 70);
    },
    { camera, rgb: CAMERAS[camera].rgb },
  );
}

/** Waits until sound and picture are together. */
function inStep(page) {
  return until(
    page,
    (limit) => {
      const { sound, sound_packets: packets, audio_offset_worst_ms: worst } = window.selvedge.stats();
      return sound && packets > 100 && worst !== null && worst <= limit;
    },
    SYNC_MS,
  );
}

async function framesMore(page, count) {
  const before = await page.evaluate(() => window.selvedge.stats().frames);
  await until(page, (frames) => window.selvedge.stats().frames >= frames, before + count);
}
