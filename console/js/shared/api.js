// Calls of the center's HTTP API. Every failure is an ApiError that a page can put into words.

/** A request that was refused, or a center that could not be reached (`code` "center_away"). */
export class ApiError extends Error {
  /**
   * @param {{code: string, message: string, hint?: string, status: number, details?: unknown}} parts
   */
  constructor(parts) {
    super(parts.message);
    this.name = "ApiError";
    this.code = parts.code;
    this.hint = parts.hint ?? "";
    /** The HTTP status; 0 when there was no answer. */
    this.status = parts.status;
    /** The whole error object, for reasons per site. */
    this.details = parts.details;
  }
}

/** The longest a request may take, in milliseconds: starting an app cold takes seconds, never this. */
const REQUEST_LIMIT_MS = 20_000;

/**
 * @param {string} method
 * @param {string} path
 * @param {{body?: unknown, token?: string | null, signal?: AbortSignal}} [options]
 * @returns {Promise<unknown>}
 */
export async function request(method, path, options = {}) {
  /** @type {Record<string, string>} */
  const headers = { accept: "application/json" };
  if (options.body !== undefined) headers["content-type"] = "application/json";
  if (options.token) headers.authorization = `Bearer ${options.token}`;
  const limit = AbortSignal.timeout(REQUEST_LIMIT_MS);
  let response;
  try {
    response = await fetch(path, {
      method,
      headers,
      body: options.body === undefined ? undefined : JSON.stringify(options.body),
      signal: options.signal ? AbortSignal.any([options.signal, limit]) : limit,
      cache: "no-store",
    });
  } catch (error) {
    if (options.signal?.aborted) throw error;
    throw new ApiError({
      code: "center_away",
      message: "The control center does not answer.",
      hint: "Check that it runs and that this device has a network.",
      status: 0,
    });
  }
  return answer(response);
}

/** @param {Response} response @returns {Promise<unknown>} */
async function answer(response) {
  const text = await response.text();
  const json = parse(text);
  if (response.ok) return json ?? (text === "" ? undefined : text);
  const error = isRecord(json) && isRecord(json.error) ? json.error : {};
  throw new ApiError({
    code: typeof error.code === "string" ? error.code : `http_${response.status}`,
    message: typeof error.message === "string" ? error.message : `The center answered ${response.status}.`,
    hint: typeof error.hint === "string" ? error.hint : undefined,
    status: response.status,
    details: error,
  });
}

/** @param {string} text @returns {unknown} */
function parse(text) {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** @param {unknown} value @returns {value is Record<string, unknown>} */
export function isRecord(value) {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
