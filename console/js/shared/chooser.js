// The part of a page's bar where a person says where they are.

import { byId, h } from "./dom.js";
import { learnNames } from "./format.js";
import { choosePlace, chosenPlace, fetchPlaces, locateDevice, onPlaceChosenElsewhere, startingPlace } from "./place.js";

/** @typedef {import("./types.js").Place} Place */

/** The elements `#here`, `#place` and `#locate` of a page. */
export class PlaceChooser {
  /**
   * @param {object} parts
   * @param {(place: Place) => Promise<void>} parts.onChosen  The person is there now; here or in another page.
   * @param {(text: string) => void} parts.onFailure  The device did not say where it is.
   */
  constructor({ onChosen, onFailure }) {
    this.onChosen = onChosen;
    /** @type {Place[]} */
    this.places = [];
    this.select = byId("place", HTMLSelectElement);
    this.select.addEventListener("change", () => {
      const place = this.places.find(({ name }) => name === this.select.value);
      if (place) void this.choose(place);
    });
    byId("locate", HTMLButtonElement).addEventListener("click", () => {
      locateDevice().then(
        (place) => this.choose(place),
        (error) => onFailure(error instanceof Error ? error.message : "The browser did not say where it is."),
      );
    });
    onPlaceChosenElsewhere((place) => {
      this.select.value = place.name;
      void onChosen(place);
    });
  }

  /** Finds out which places there are. @returns {Promise<Place | null>}  The one to begin with. */
  async start() {
    this.places = await fetchPlaces();
    learnNames(this.places.map(({ name }) => name));
    byId("here", HTMLElement).hidden = this.places.length === 0;
    byId("locate", HTMLElement).hidden = this.places.length > 0;
    this.select.replaceChildren(...this.places.map(({ name }) => h("option", { value: name }, name)));
    const place = startingPlace(this.places, chosenPlace(), Intl.DateTimeFormat().resolvedOptions().timeZone);
    if (place) this.select.value = place.name;
    return place;
  }

  /** Says that the person is there now. @param {Place} place */
  async choose(place) {
    choosePlace(place);
    this.select.value = place.name;
    await this.onChosen(place);
  }

  /** The same by a city's name. @param {string} city */
  async chooseByName(city) {
    const place = this.places.find(({ name }) => name === city);
    if (!place) throw new Error(`no place is called ${city}`);
    await this.choose(place);
  }
}
