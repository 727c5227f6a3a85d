// Light or dark: the system's choice, until the person makes one.

const KEY = "selvedge.theme";

/** Applies the stored choice. Called before the first paint. */
export function applyTheme() {
  const theme = read();
  if (theme) document.documentElement.dataset.theme = theme;
}

/** Switches to the other one and keeps it. */
export function switchTheme() {
  const dark = read() ? read() === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  const theme = dark ? "light" : "dark";
  document.documentElement.dataset.theme = theme;
  try {
    localStorage.setItem(KEY, theme);
  } catch {
    // Not kept; it holds for this page.
  }
}

/** @returns {"light" | "dark" | null} */
function read() {
  try {
    const theme = localStorage.getItem(KEY);
    return theme === "light" || theme === "dark" ? theme : null;
  } catch {
    return null;
  }
}
