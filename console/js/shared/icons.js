// Icons, drawn as strokes on a 20 by 20 grid.

const PATHS = {
  sound: "M3 8v4h3l4 3.5v-11L6 8H3zm10.5-1a4.5 4.5 0 0 1 0 6M15.5 5a7.5 7.5 0 0 1 0 10",
  muted: "M3 8v4h3l4 3.5v-11L6 8H3zm10 0 4 4m0-4-4 4",
  stats: "M3 16h14M5 13V9m5 4V4m5 9v-6",
  fullscreen: "M4 8V4h4M12 4h4v4M16 12v4h-4M8 16H4v-4",
  keyboard: "M2.5 5.5h15v9h-15zM5.5 8.5h.01M8.5 8.5h.01M11.5 8.5h.01M14.5 8.5h.01M6.5 11.5h7",
  close: "M5 5l10 10M15 5L5 15",
  map: "M3 5.5 8 4l4 1.5L17 4v10.5L12 16l-4-1.5L3 16zM8 4v10.5M12 5.5V16",
  apps: "M3.5 3.5h5v5h-5zM11.5 3.5h5v5h-5zM3.5 11.5h5v5h-5zM11.5 11.5h5v5h-5z",
  sites: "M10 17s5-4.7 5-8.6A5 5 0 0 0 5 8.4C5 12.3 10 17 10 17zm0-7a1.8 1.8 0 1 1 0-3.6A1.8 1.8 0 0 1 10 10z",
  sessions: "M2.5 4.5h15v9h-15zM7 16.5h6M10 13.5v3",
  theme: "M10 3a7 7 0 1 0 0 14zM10 3a7 7 0 0 1 0 14",
  open: "M7 4H4v12h12v-3M11 4h5v5M16 4l-7.5 7.5",
  me: "M10 10a3 3 0 1 0 0-6 3 3 0 0 0 0 6zM4 17a6 6 0 0 1 12 0",
  back: "M12 4l-6 6 6 6",
  play: "M6.5 4v12l9-6z",
  pause: "M6.5 4.5v11M13.5 4.5v11",
  tour: "M16.5 10a6.5 6.5 0 1 1-2.2-4.9M16.5 3v3.5H13M10 7v3l2 1.5",
  cameras: "M2.5 4.5h6.5v4.5H2.5zM11 4.5h6.5v4.5H11zM2.5 11.5h6.5v4.5H2.5zM11 11.5h6.5v4.5H11z",
  next: "M8 4l6 6-6 6",
};

/** @typedef {keyof typeof PATHS} IconName */

const SVG = "http://www.w3.org/2000/svg";

/** @param {IconName} name @returns {SVGSVGElement} */
export function icon(name) {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("viewBox", "0 0 20 20");
  svg.setAttribute("class", "icon");
  svg.setAttribute("aria-hidden", "true");
  const path = document.createElementNS(SVG, "path");
  path.setAttribute("d", PATHS[name]);
  svg.append(path);
  return svg;
}
