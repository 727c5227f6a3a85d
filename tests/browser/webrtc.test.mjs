// WHIP and WHEP by a real browser against a real cloud: what it publishes is watched by our page and by another
// browser; what a real ffmpeg publishes is played by it.

import assert from "node:assert/strict";
import { spawn, spawnSync } from "node:child_process";
import { after, before, describe, test } from "node:test";

import { Cloud, LIMIT_MS, missing, openBrowser, until, withProfile } from "./harness.mjs";
import { Link } from "./link.mjs";

/** Each camera has a colour of its own along the lower edge. */
const CAMERAS = {
  north: { position: [0, 10, 2], colour: "red", rgb: [255, 0, 0] },
  south: { position: [0, -10, 2], colour: "lime", rgb: [0, 255, 0] },
  page: { position: [10, 0, 2], colour: "#0000ff", rgb: [0, 0, 255] },
};
/** Camera of the event that is published by a page alone. */
const STUDIO = "studio";
/** How far sound and picture may be apart, in milliseconds. */
const SYNC_MS = 45;
/** As much where both are drawn and heard by a page on a busy machine without a sound card. */
const SEEN_MS = 150;
/** Keyframes of a browser come when they are asked for: a second, and the way there and back on a busy machine. */
const GROUP_LIMIT_MS = 1_300;

const noFfmpeg = () => (spawnSync("ffmpeg", ["-version"]).error ? "ffmpeg is not installed" : false);

describe("WebRTC", { skip: missing() || noFfmpeg(), timeout: 600_000 }, () => {
  /** @type {Cloud} */
  let cloud;
  /** @type {import("playwright-core").Browser} */
  let browser;
  /** @type {Map<string, import("node:child_process").ChildProcess>} */
  const publishers = new Map();
  let ways = {};
  let key = "";

  before(async () => {
    cloud = await Cloud.start();
    browser = await openBrowser();
    await deploy(cloud, "pitch", true);
    await deploy(cloud, STUDIO, true, "page");
    await deploy(cloud, "other", true);
    await deploy(cloud, "closed", false);
    key = (await cloud.api("POST", "/v1/live/pitch/keys", { label: "test" })).key;
    const { ingest } = await cloud.api("GET", "/v1/live/pitch");
    ways = ingest.find(({ site }) => site === "frankfurt");
  });

  after(async () => {
    for (const child of publishers.values()) child.kill("SIGKILL");
    await browser?.close();
    await cloud?.stop();
  });

  /** Puts a camera on the air by RTMP: H.264 and AAC. */
  const publish = (name) => {
    const picture = `testsrc2=size=640x360:rate=30,drawbox=y=ih-60:h=60:color=${CAMERAS[name].colour}:t=fill`;
    const child = spawn(
      "ffmpeg",
      ["-v", "error", "-re", "-f", "lavfi", "-i", picture, "-re", "-f", "lavfi", "-i", "sine=frequency=440:sample_rate=48000"].concat(
        ["-c:v", "libx264", "-preset", "ultrafast", "-tune", "zerolatency", "-pix_fmt", "yuv420p", "-g", "30", "-b:v", "900k", "-maxrate", "900k", "-bufsize", "900k"],
        ["-c:a", "aac", "-b:a", "96k", "-f", "flv", `${ways.rtmp}/${name}?key=${key}`],
      ),
      { stdio: "ignore" },
    );
    publishers.set(name, child);
  };

  const inProfile = (run) => () => withProfile(browser, run);

  /** A page of another origin than the edges, with what the tests need of WebRTC. */
  const openPage = async (context) => {
    const page = await context.newPage();
    await page.goto(`${cloud.ready.center}/healthz`);
    await page.evaluate(inPage);
    return page;
  };

  const status = async (camera, event = "pitch") => {
    const { cameras } = await cloud.api("GET", `/v1/live/${event}`);
    return cameras.find(({ name }) => name === camera).status;
  };

  test(
    "a browser publishes its canvas and its sound, and our page and another browser show them in step",
    inProfile(async (context) => {
      const { key: studio } = await cloud.api("POST", "/v1/live/studio/keys", {});
      const camera = await openPage(context);
      const published = await camera.evaluate(([url, key, colour]) => window.whip(url, key, { colour }), [`${new URL("/whip/studio", ways.whip).href}/page`, studio, CAMERAS.page.colour]);
      assert.equal(published.status, 201, JSON.stringify(published));
      const told = await eventually(async () => {
        const told = await status("page", STUDIO);
        return told?.group_ms > 0 && told.frames_per_second > 10 && told.audio && told;
      });
      assert.deepEqual([told.protocol, told.video, told.audio, told.warnings], ["WHIP", "h264", "opus", []]);
      assert.deepEqual([told.width, told.height], [640, 360]);
      assert.ok(told.group_ms < GROUP_LIMIT_MS, `${told.group_ms} ms from keyframe to keyframe`);

      const viewer = await context.newPage();
      await viewer.goto(cloud.watch(STUDIO));
      await until(viewer, () => window.selvedge?.stats().frames > 10);
      await viewer.close();

      const player = await openPage(context);
      const played = await player.evaluate((url) => window.whep(url), `${cloud.ready.center}/whep/studio/page`);
      assert.equal(played.status, 201, JSON.stringify(played));
      await untilColour(player, CAMERAS.page.rgb);
      await until(player, () => window.playing.hears > 0.01);
      // The canvas is bright while it beeps: what is seen and what is heard must come together.
      await camera.evaluate(() => window.beep());
      const apart = await until(player, () => window.playing.apart.length >= 20 && window.playing.apart);
      // The browser itself, by the reports of who sends. It brings them together in some seconds.
      const { behind } = await eventually(async () => {
        const stats = await player.evaluate(() => window.playing.stats());
        return stats.behind !== null && Math.abs(stats.behind) <= SYNC_MS && stats;
      });
      // What is seen and heard on this machine has the waits of its canvas and its sound graph in it, twice.
      const settled = apart.slice(-9).sort((a, b) => a - b);
      console.log(`sound is ${behind} ms behind the picture; seen and heard: ${apart.map(Math.round).join(" ")}`);
      assert.ok(Math.abs(settled[4]) <= SEEN_MS, `seen and heard ${apart.map(Math.round)} ms apart`);

      // Who takes a camera off the air says so; it is gone at once, and not after a silence.
      assert.equal(await camera.evaluate(() => window.published.end()), 200);
      await eventually(async () => !(await status("page", STUDIO)), 5_000);
    }),
  );

  test(
    "a browser plays what ffmpeg sends, and turns by the data channel",
    inProfile(async (context) => {
      publish("north");
      publish("south");
      await eventually(async () => (await status("north"))?.group_ms > 0 && (await status("south"))?.group_ms > 0);
      const page = await openPage(context);
      const played = await page.evaluate((url) => window.whep(url), `${cloud.ready.center}/whep/pitch/north`);
      assert.equal(played.status, 201, JSON.stringify(played));
      assert.match(played.location, /^\/webrtc\/[0-9a-f]{32}$/);
      await untilColour(page, CAMERAS.north.rgb);
      const word = await until(page, () => window.playing.words.find((it) => it.camera === "north"));
      assert.ok(word.on_air.includes("south"), JSON.stringify(word));
      assert.match(word.sound, /AAC/);
      const before = await page.evaluate(() => window.playing.stats());
      await eventually(async () => {
        const now = await page.evaluate(() => window.playing.stats());
        return now.framesDecoded > before.framesDecoded + 30 && now.currentTime > before.currentTime + 1;
      });

      for (const name of ["south", "north", "south"]) {
        await page.evaluate((camera) => window.playing.say({ camera }), name);
        await untilColour(page, CAMERAS[name].rgb);
        await until(page, (name) => window.playing.words.at(-1).camera === name, name);
      }
      // It comes in the smallest form, and gets better.
      await until(page, () => window.playing.words.at(-1).rendition === null && window.playing.video.videoWidth === 640);
      const { framesDecoded, freezeCount } = await page.evaluate(() => window.playing.stats());
      await page.evaluate(() => window.playing.say({ camera: "moon" }));
      const error = await until(page, () => window.playing.words.find((it) => it.t === "error"));
      assert.match(error.text, /pitch has no camera moon: it has north, south, page/);
      console.log(`${framesDecoded} pictures decoded, ${freezeCount} freezes over three turns`);

      // What it watches goes off the air: the other stands in, and it is told.
      publishers.get("south").kill("SIGKILL");
      await untilColour(page, CAMERAS.north.rgb);
      const { viewers } = await eventually(async () => {
        const view = await cloud.api("GET", "/v1/live/pitch");
        return view.viewers === 1 && view;
      });
      assert.equal(viewers, 1);
      await page.evaluate(() => window.playing.end());
      await eventually(async () => (await cloud.api("GET", "/v1/live/pitch")).viewers === 0);
    }),
  );

  test(
    "a link that narrows gets a smaller picture, and the whole one when it is wide again",
    inProfile(async (context) => {
      if (!(await status("north"))) publish("north");
      await eventually(async () => (await status("north"))?.group_ms > 0);
      const page = await openPage(context);
      const link = new Link();
      await page.exposeFunction("linkTo", (address) => link.to(address));
      await page.evaluate((url) => window.whep(url), `${cloud.ready.center}/whep/pitch/north`);
      // A link is tried for more every few seconds: the way up takes some of them.
      const rendition = (name) => until(page, (name) => window.playing.words.at(-1)?.camera === "north" && window.playing.words.at(-1).rendition === name, name, 2 * LIMIT_MS);
      await rendition(null);
      const began = Date.now();
      link.bitsPerSecond = 550_000;
      await rendition("low");
      const fell = Date.now();
      const before = await page.evaluate(() => window.playing.stats());
      await eventually(async () => (await page.evaluate(() => window.playing.stats())).framesDecoded > before.framesDecoded + 60);
      const wide = Date.now();
      link.bitsPerSecond = 20_000_000;
      await rendition(null);
      console.log(`smaller after ${fell - began} ms, whole again after ${Date.now() - wide} ms`);
      await page.evaluate(() => window.playing.end());
      link.close();
    }),
  );

  test(
    "what cannot be is refused in words",
    inProfile(async (context) => {
      const page = await openPage(context);
      const whip = (path, key, options = {}) => page.evaluate(([url, key, options]) => window.whip(url, key, options), [new URL(path, ways.whip).href, key, options]);
      const wrong = await whip("/whip/pitch/page", "wrong");
      assert.deepEqual([wrong.status, wrong.error.code], [401, "unauthorized"]);
      assert.match(wrong.error.message, /the stream key is not good for pitch: `selvedge live key create pitch` makes one/);
      assert.equal((await whip("/whip/other/page", key)).status, 401, "the key of one event opens no other");
      const nowhere = await whip("/whip/pitch/moon", key);
      assert.match(nowhere.error.message, /pitch has no camera moon/);
      const codec = await whip("/whip/pitch/page", key, { codec: "video/VP8" });
      assert.equal(codec.status, 406);
      assert.match(codec.error.message, /VP8 is not taken: send H.264, AV1 or VP9/);

      const { token } = await cloud.api("POST", "/v1/live/pitch/watch", {});
      const edge = new URL(ways.whip).origin;
      const whep = (url, bearer) => page.evaluate(([url, bearer]) => window.whep(url, { bearer }), [url, bearer]);
      const other = await whep(`${edge}/whep/other`, token);
      assert.deepEqual([other.status, other.error.message], [401, "the ticket is for another event"]);
      assert.equal((await whep(`${edge}/whep/pitch`)).status, 401);
      assert.equal((await whep(`${edge}/whep/pitch`, `${token.slice(0, -4)}AAAA`)).status, 401);
      assert.equal((await whep(`${cloud.ready.center}/whep/closed`)).status, 401);
      const dark = await whep(`${cloud.ready.center}/whep/other`);
      assert.deepEqual([dark.status, dark.error.message], [503, "nothing of this event is on air"]);

      const post = (path, type, body) => fetch(new URL(path, edge), { method: "POST", headers: { "content-type": type, authorization: `Bearer ${token}` }, body });
      assert.equal((await post("/whep/pitch", "text/plain", "v=0")).status, 415);
      assert.equal((await post("/whep/pitch", "application/sdp", "x".repeat(70_000))).status, 413);
      for (const offer of ["", "v=0", "v=0\r\nm=video 9 UDP/TLS/RTP/SAVPF 96\r\na=rtpmap:96 H264/90000\r\n", "\u0000\uffff".repeat(100)]) {
        const { status } = await post("/whep/pitch", "application/sdp", offer);
        assert.ok(status === 400 || status === 406, `${status} for ${JSON.stringify(offer)}`);
      }
      const session = new URL("/webrtc/00000000000000000000000000000000", edge);
      assert.equal((await fetch(session, { method: "DELETE" })).status, 404);
      assert.equal((await fetch(session, { method: "PATCH", body: "a=candidate:" })).status, 405);
    }),
  );
});

/** Runs in the page: publishing and playing as the drafts say, without any help. */
function inPage() {
  const exchange = async (pc, url, bearer) => {
    await pc.setLocalDescription();
    const headers = { "content-type": "application/sdp", ...(bearer ? { authorization: `Bearer ${bearer}` } : {}) };
    const response = await fetch(url, { method: "POST", headers, body: pc.localDescription.sdp });
    const text = await response.text();
    if (response.status !== 201) return { status: response.status, ...JSON.parse(text) };
    const location = response.headers.get("location");
    const [, host, port] = /a=candidate:\S+ 1 udp \d+ (\S+) (\d+) /.exec(text);
    const way = window.linkTo ? await window.linkTo(`${host}:${port}`) : `${host}:${port}`;
    await pc.setRemoteDescription({ type: "answer", sdp: text.replace(` ${host} ${port} typ`, ` ${way.replace(":", " ")} typ`) });
    const end = async () => {
      const ended = await fetch(new URL(location, response.url), { method: "DELETE" });
      pc.close();
      return ended.status;
    };
    return { status: 201, location, end };
  };

  window.whip = async (url, bearer, { colour = "black", codec = null } = {}) => {
    const canvas = document.createElement("canvas");
    [canvas.width, canvas.height] = [640, 360];
    const draw = canvas.getContext("2d");
    const sound = new AudioContext();
    const destination = sound.createMediaStreamDestination();
    const tone = new OscillatorNode(sound, { frequency: 440 });
    const volume = new GainNode(sound, { gain: 0.3 });
    tone.connect(volume).connect(destination);
    tone.start();
    let beeps = false;
    const paint = () => {
      const now = performance.now();
      const loud = beeps && now % 700 < 200;
      if (beeps) volume.gain.value = loud ? 0.5 : 0;
      draw.fillStyle = loud ? "white" : "black";
      draw.fillRect(0, 0, 640, 300);
      draw.fillStyle = `hsl(${now % 360} 50% 40%)`;
      draw.fillRect((now / 5) % 640, 100, 40, 40);
      draw.fillStyle = colour;
      draw.fillRect(0, 300, 640, 60);
      requestAnimationFrame(paint);
    };
    paint();
    window.beep = () => {
      beeps = true;
    };
    const pc = new RTCPeerConnection();
    const stream = new MediaStream([...canvas.captureStream(30).getTracks(), ...destination.stream.getTracks()]);
    for (const track of stream.getTracks()) {
      const transceiver = pc.addTransceiver(track, { direction: "sendonly", streams: [stream] });
      if (codec && track.kind === "video") transceiver.setCodecPreferences(RTCRtpSender.getCapabilities("video").codecs.filter(({ mimeType }) => mimeType === codec));
    }
    const result = await exchange(pc, url, bearer);
    window.published = { pc, end: result.end };
    return { ...result, end: undefined };
  };

  window.whep = async (url, { bearer = null } = {}) => {
    const pc = new RTCPeerConnection();
    const video = document.createElement("video");
    Object.assign(video, { muted: true, autoplay: true, playsInline: true });
    document.body.append(video);
    const stream = new MediaStream();
    video.srcObject = stream;
    const playing = { pc, video, words: [], hears: 0, apart: [] };
    pc.ontrack = ({ track }) => {
      stream.addTrack(track);
      if (track.kind === "audio") listen(playing, track);
    };
    pc.addTransceiver("video", { direction: "recvonly" });
    pc.addTransceiver("audio", { direction: "recvonly" });
    const channel = pc.createDataChannel("view");
    channel.onmessage = ({ data }) => playing.words.push(JSON.parse(data));
    playing.say = (word) => channel.send(JSON.stringify(word));
    playing.stats = async () => {
      const all = [...(await pc.getStats()).values()];
      const inbound = (kind) => all.find((it) => it.type === "inbound-rtp" && it.kind === kind);
      const { framesDecoded, freezeCount, estimatedPlayoutTimestamp: picture } = inbound("video");
      // What is shown and what is heard now, by the sender's clock.
      const behind = inbound("audio")?.estimatedPlayoutTimestamp ? picture - inbound("audio").estimatedPlayoutTimestamp : null;
      return { framesDecoded, freezeCount, behind, currentTime: video.currentTime };
    };
    const canvas = document.createElement("canvas");
    [canvas.width, canvas.height] = [64, 36];
    const look = canvas.getContext("2d", { willReadFrequently: true });
    const pixel = (x, y) => [...look.getImageData(x, y, 1, 1).data.slice(0, 3)];
    let bright = false;
    const onFrame = () => {
      look.drawImage(video, 0, 0, 64, 36);
      playing.colour = pixel(32, 34);
      const now = pixel(4, 4)[1] > 128;
      if (now && !bright) playing.flashed = performance.now();
      bright = now;
      video.requestVideoFrameCallback(onFrame);
    };
    video.requestVideoFrameCallback(onFrame);
    window.playing = playing;
    const result = await exchange(pc, url, bearer);
    playing.end = result.end;
    return { ...result, end: undefined };
  };

  /** Notes when it becomes loud, and how long after the last flash. */
  const listen = async (playing, track) => {
    const context = new AudioContext();
    const analyser = new AnalyserNode(context, { fftSize: 256 });
    context.createMediaStreamSource(new MediaStream([track])).connect(analyser);
    const samples = new Float32Array(256);
    let loud = true;
    let began = 0;
    const hear = () => {
      analyser.getFloatTimeDomainData(samples);
      playing.hears = samples.reduce((most, it) => Math.max(most, Math.abs(it)), 0);
      const now = playing.hears > 0.1;
      if (now && !loud) began = performance.now();
      loud = now;
      // Whichever came first, the other is there by now.
      if (began && performance.now() > began + 250) {
        if (playing.flashed && Math.abs(began - playing.flashed) < 300) playing.apart.push(began - playing.flashed);
        began = 0;
      }
    };
    setInterval(hear, 4);
  };
}

/** Deploys an event. */
async function deploy(cloud, event, open, sound = "north") {
  const cameras = Object.entries(CAMERAS).map(([name, { position }]) => `[[cameras]]\nname = "${name}"\nposition = ${JSON.stringify(position)}`);
  const manifest = `
    name = "${event}"
    kind = "live"
    sound = "${sound}"
    [access]
    public = ${open}
    ${cameras.join("\n")}
    [[renditions]]
    name = "low"
    height = 180
    bitrate_kbps = 300
  `;
  await cloud.api("POST", "/v1/apps", { manifest });
}

/** Waits until the lower edge of what is played has a colour. */
function untilColour(page, rgb) {
  return until(page, (rgb) => window.playing.colour?.every((it, n) => Math.abs(it - rgb[n]) < 90), rgb);
}

/** Waits until something is so. */
async function eventually(ask, limitMs = LIMIT_MS) {
  const end = Date.now() + limitMs;
  for (;;) {
    const answer = await ask();
    if (answer) return answer;
    assert.ok(Date.now() < end, `not within ${limitMs} ms: ${ask}`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}
