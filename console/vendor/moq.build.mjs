// Makes moq.js: @moq/net and what it imports in one ES module, with one change of ours.
//
// The library asks for a track's properties and waits for the answer before it subscribes: a round trip before the first
// picture, and again at every change of the way. All it needs of the answer to read frames is the timescale, and every
// track of ours counts microseconds (docs/protocol.md), so it is told that and subscribes at once. The rest are the
// library's own defaults, which only say how long groups are kept here.
import { readFileSync, writeFileSync } from "node:fs";

import { build } from "esbuild";

const CHANGED_FILE = /[\\/]@moq[\\/]net[\\/]lite[\\/]subscriber\.js$/;
const THEIRS = `
            const info = await this.#trackInfo(msg.broadcast, msg.track);
            producer = request.accept(this.#toModelInfo(info));
            timescale.set(info.timescale);
`;
const OURS = `
            producer = request.accept({ timescale: Time.Timescale(1_000_000) });
            timescale.set(1_000_000);
`;

let changes = 0;
const subscribeAtOnce = {
  name: "subscribe-at-once",
  setup({ onLoad }) {
    onLoad({ filter: CHANGED_FILE }, ({ path }) => {
      const parts = readFileSync(path, "utf8").split(THEIRS);
      changes += parts.length - 1;
      return { contents: parts.join(OURS) };
    });
  },
};

const { outputFiles } = await build({
  entryPoints: ["moq.entry.js"],
  outfile: "moq.js",
  bundle: true,
  format: "esm",
  platform: "browser",
  target: "es2022",
  minify: true,
  legalComments: "none",
  banner: { js: "// @moq/net and what it imports, changed as README.md says. Made by moq.build.mjs; licences in LICENSES.txt." },
  plugins: [subscribeAtOnce],
  write: false,
});
if (changes !== 1) throw new Error(`the text that moq.build.mjs changes is ${changes} times in @moq/net, not once: it is another version, look at how it subscribes`);
for (const { path, contents } of outputFiles) writeFileSync(path, contents);
console.log(`moq.js: ${outputFiles[0].contents.length} bytes`);
