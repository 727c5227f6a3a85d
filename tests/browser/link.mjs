// A link that can be narrow and lossy, between a page and an entry.

import { createSocket } from "node:dgram";

/** What is on its way waits no longer than this, in milliseconds; the rest is dropped, as by any router. */
const LINK_QUEUE_MS = 150;

/** The last stretch of a viewer's link, which can be narrow and lossy. Only what comes to the viewer suffers. */
export class Link {
  /** Puts a link before every entry that the pages of a profile are sent to. @param {import("playwright-core").BrowserContext} context */
  static async between(context) {
    const link = new Link();
    await context.route("**/v1/live/*/watch", async (route) => {
      const response = await route.fetch();
      const ticket = await response.json();
      ticket.entry.address = await link.to(ticket.entry.address);
      await route.fulfill({ response, json: ticket });
    });
    return link;
  }

  constructor() {
    this.bitsPerSecond = Infinity;
    this.loss = 0;
    this.lost = 0;
    this.freeAt = 0;
    /** The same numbers in every run. */
    this.random = 1;
    this.sockets = [];
  }

  /** The way to an entry. @param {string} address @returns {Promise<string>} */
  async to(address) {
    const [host, port] = address.split(":");
    const near = createSocket("udp4");
    const ways = new Map();
    near.on("message", (packet, from) => {
      const name = `${from.address}:${from.port}`;
      if (!ways.has(name)) {
        const far = createSocket("udp4");
        this.sockets.push(far);
        far.on("message", (packet) => this.carry(packet.length, () => near.send(packet, from.port, from.address)));
        ways.set(name, far);
      }
      ways.get(name).send(packet, Number(port), host);
    });
    this.sockets.push(near);
    await new Promise((resolve) => near.bind(0, "127.0.0.1", resolve));
    return `127.0.0.1:${near.address().port}`;
  }

  carry(bytes, deliver) {
    this.random = (this.random * 48_271) % 2_147_483_647;
    const now = performance.now();
    const begins = Math.max(now, this.freeAt);
    if (this.random / 2_147_483_647 < this.loss || begins - now > LINK_QUEUE_MS) {
      this.lost += 1;
      return;
    }
    this.freeAt = begins + (bytes * 8_000) / this.bitsPerSecond;
    if (this.freeAt <= now) deliver();
    else setTimeout(() => this.closed || deliver(), this.freeAt - now);
  }

  close() {
    this.closed = true;
    for (const socket of this.sockets) socket.close();
  }
}
