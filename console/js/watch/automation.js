// `window.selvedge`: what tests and scripts may ask of an open viewer, and nothing a person could not do.
//
//   state()        { state, event, entry_site, entry_node, transport, place, banner, stopped, on_air, codecs, changing, paused }
//   stats()        see Stats in overlay.js
//   turn(degrees)  as if a hand had turned there; step(1 | -1) as if an arrow key had been pressed
//   choose(camera) as if its mark on the ring had been pressed
//   move(city)     as if the person chose that city; resolves when it is done or refused
//   resetGaps()    starts measuring the longest gap between pictures, and the switches, anew
//   pixel(x, y)    [red, green, blue] of the picture at these fractions

/** @param {import("./main.js").Watcher} watcher */
export function installAutomation(watcher) {
  Reflect.set(window, "selvedge", makeAutomation(watcher));
}

/** @param {import("./main.js").Watcher} watcher */
function makeAutomation(watcher) {
  const { session, picture } = watcher;
  return {
    state: () => ({
      state: session.state,
      event: watcher.event,
      entry_site: session.current?.ticket.entry.site ?? null,
      entry_node: session.current?.ticket.entry.node ?? null,
      transport: session.current?.transport ?? null,
      place: session.place?.name ?? null,
      banner: watcher.banner.hidden ? null : watcher.banner.textContent,
      stopped: watcher.stopped,
      on_air: watcher.views?.live() ?? [],
      changing: session.changing,
      moves: session.moves,
      paused: watcher.views?.paused === true,
      forms: watcher.views?.forms ?? [],
      codecs: Object.fromEntries([...(session.current?.infos ?? [])].map(([camera, { video }]) => [camera, video?.codec ?? null])),
      feeds: (watcher.views?.feeds ?? []).map(({ name }) => name),
    }),
    stats: () => watcher.stats(),
    /** @param {number} degrees */
    turn: (degrees) => {
      watcher.turn.handleGoTo(degrees, performance.now());
      watcher.keepTurning();
    },
    /** @param {1 | -1} direction */
    step: (direction) => watcher.step(direction),
    /** @param {string} camera */
    choose: (camera) => watcher.choose(camera),
    /** @param {string} city */
    move: (city) => watcher.chooser.chooseByName(city),
    resetGaps: () => {
      picture.gaps.reset();
      if (watcher.views) watcher.views.switches = [];
    },
    /** @param {number} x @param {number} y */
    pixel: (x, y) => {
      const { canvas, context } = picture;
      const [red, green, blue] = context.getImageData(Math.floor(x * (canvas.width - 1)), Math.floor(y * (canvas.height - 1)), 1, 1).data;
      return [red, green, blue];
    },
  };
}
