// `window.selvedge`: what tests and scripts may ask of an open player, and nothing a person could not do.
//
//   state()       { state, app, session, epoch, host_site, host_entry…, transport, place, banner, offer, stopped }
//   stats()       see Stats in overlay.js
//   move(city)    as if the person chose that city; resolves when it is done or refused
//   acceptOffer() as if the person pressed Move
//   resetGaps()   starts measuring the longest gap between pictures anew
//   pixel(x, y)   [red, green, blue] of the picture at these fractions
//   end()         closes the app

/** @typedef {ReturnType<typeof makeAutomation>} Automation */

/** @param {import("./main.js").Player} player */
export function installAutomation(player) {
  Reflect.set(window, "selvedge", makeAutomation(player));
}

/** @param {import("./main.js").Player} player */
function makeAutomation(player) {
  const { session, screen } = player;
  return {
    state: () => ({
      state: session.state,
      app: player.app,
      session: session.held?.id ?? null,
      epoch: session.current?.ticket.epoch ?? null,
      host_site: session.current?.ticket.host_site ?? null,
      entry_site: session.current?.ticket.entry.site ?? null,
      entry_node: session.current?.ticket.entry.node ?? null,
      transport: session.current?.connection.transport ?? null,
      changing: session.pending !== null,
      moves: session.moves,
      place: session.place?.name ?? null,
      banner: player.banner.hidden ? null : player.banner.textContent,
      offer: player.offer,
      stopped: player.stopped,
      hello: player.hello,
    }),
    stats: () => player.stats(),
    /** @param {string} city */
    move: (city) => player.chooser.chooseByName(city),
    acceptOffer: async () => {
      if (!player.offer) throw new Error("there is no offer");
      await session.acceptOffer(player.offer);
    },
    resetGaps: () => screen.gaps.reset(),
    /** @param {number} x @param {number} y */
    pixel: (x, y) => {
      const { canvas, context } = screen;
      const [red, green, blue] = context.getImageData(Math.floor(x * (canvas.width - 1)), Math.floor(y * (canvas.height - 1)), 1, 1).data;
      return [red, green, blue];
    },
    end: () => session.end(),
  };
}
