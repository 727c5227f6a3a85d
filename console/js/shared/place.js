// "I am in <city>": which places there are, which one was chosen, and what that says of this terminal.
//
// The choice lives in localStorage, so the console and every open player of this browser agree on it.

import { isRecord, request } from "./api.js";

/** @typedef {import("./types.js").Place} Place */
/** @typedef {import("./types.js").RoundTrip} RoundTrip */
/** @typedef {import("./types.js").Terminal} Terminal */

const KEY = "selvedge.place";

/** The places the operator configured; none outside of emulated cities. @returns {Promise<Place[]>} */
export async function fetchPlaces() {
  try {
    const answer = await request("GET", "/v1/places");
    const list = isRecord(answer) ? answer.items : null;
    return Array.isArray(list) ? list.filter(isPlace) : [];
  } catch {
    // Without the list there is nothing to choose from, and the session request will say what is wrong.
    return [];
  }
}

/** @param {unknown} value @returns {value is Place} */
export function isPlace(value) {
  if (!isRecord(value) || typeof value.name !== "string" || !isRecord(value.position)) return false;
  return typeof value.position.lat === "number" && typeof value.position.lon === "number";
}

/** @returns {Place | null} */
export function chosenPlace() {
  try {
    const place = JSON.parse(localStorage.getItem(KEY) ?? "null");
    return isPlace(place) ? place : null;
  } catch {
    return null;
  }
}

/** @param {Place} place */
export function choosePlace(place) {
  try {
    localStorage.setItem(KEY, JSON.stringify(place));
  } catch {
    // A browser that keeps nothing still plays; it asks again next time.
  }
}

/**
 * Calls back when another page of this browser chose a place.
 * @param {(place: Place) => void} callback
 */
export function onPlaceChosenElsewhere(callback) {
  addEventListener("storage", (event) => {
    if (event.key !== KEY) return;
    const place = chosenPlace();
    if (place) callback(place);
  });
}

/**
 * The place to begin with: the chosen one as the list has it now, else the city this device's clock is set for, else
 * the first.
 * @param {Place[]} places
 * @param {Place | null} chosen
 * @param {string} timeZone
 * @returns {Place | null}
 */
export function startingPlace(places, chosen, timeZone) {
  if (chosen) {
    const known = places.find((place) => place.name === chosen.name);
    if (known) return known;
    // A place from geolocation is in no list and stays; a city of another deployment does not.
    if (chosen.network === undefined) return chosen;
  }
  const city = (timeZone.split("/").pop() ?? "").replaceAll("_", " ");
  return places.find((place) => plain(place.name) === plain(city)) ?? places[0] ?? null;
}

/** Without accents and case: "São Paulo" is "Sao_Paulo" to the clock. @param {string} name */
export function plain(name) {
  return name.normalize("NFD").replace(/\p{M}/gu, "").toLowerCase();
}

/** Where the device says it is. Asks the person. @returns {Promise<Place>} */
export function locateDevice() {
  return new Promise((resolve, reject) => {
    if (!navigator.geolocation) {
      reject(new Error("This browser cannot tell where it is."));
      return;
    }
    navigator.geolocation.getCurrentPosition(
      ({ coords }) => resolve({ name: "my location", position: { lat: coords.latitude, lon: coords.longitude } }),
      () => reject(new Error("The browser did not give your location. Allow it in the page's settings, or go on without.")),
      { maximumAge: 600_000, timeout: 10_000 },
    );
  });
}

/**
 * What this terminal tells of itself.
 * @param {Place | null} place
 * @param {RoundTrip[]} [roundTrips]
 * @returns {Terminal}
 */
export function terminalAt(place, roundTrips = []) {
  /** @type {Terminal} */
  const terminal = {};
  if (place) terminal.position = { lat: place.position.lat, lon: place.position.lon };
  if (place?.network !== undefined) terminal.network = place.network;
  if (roundTrips.length > 0) terminal.round_trips = roundTrips;
  return terminal;
}
