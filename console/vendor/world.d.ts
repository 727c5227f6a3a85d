/** Rings of land: [longitude, latitude, then differences], in tenths of a degree. */
declare const rings: number[][];
export default rings;
