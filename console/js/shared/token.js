// The operator's token: taken out of the address once, kept for this tab only.

const KEY = "selvedge.token";

/** Moves `#token=…` from the address into the tab's storage, so that it is neither shared nor kept in the history. */
export function adoptToken() {
  const parameters = new URLSearchParams(location.hash.slice(1));
  const token = parameters.get("token");
  if (token === null) return;
  setToken(token);
  parameters.delete("token");
  const rest = parameters.toString();
  history.replaceState(history.state, "", location.pathname + location.search + (rest ? `#${rest}` : ""));
}

/** @returns {string | null} */
export function operatorToken() {
  try {
    return sessionStorage.getItem(KEY);
  } catch {
    return null;
  }
}

/** @param {string} token */
export function setToken(token) {
  try {
    sessionStorage.setItem(KEY, token);
  } catch {
    // A tab without storage asks again after a reload.
  }
}
