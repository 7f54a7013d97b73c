// Requests to this server. A newer request of a kind cancels the older one, whose answer is dropped.

/** An answer that is not what was asked for; `status` is 0 if the server could not be reached. */
export class ApiError extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

const running = new Map();

/** A query from values and lists of values; empty ones are left out. */
export function query(parameters) {
  const search = new URLSearchParams();
  for (const [name, value] of Object.entries(parameters)) {
    for (const item of Array.isArray(value) ? value : [value]) {
      if (item !== undefined && item !== null && item !== "") search.append(name, item);
    }
  }
  return search.toString();
}

/**
 * The JSON at a path of the API. With `kind`, a later request of that kind makes this one throw an AbortError.
 */
export async function get(path, parameters = {}, kind = undefined) {
  const controller = new AbortController();
  if (kind) {
    running.get(kind)?.abort();
    running.set(kind, controller);
  }
  const address = `/api/v1/${path}?${query(parameters)}`;
  let response;
  let body;
  try {
    response = await fetch(address, { signal: controller.signal });
    body = await response.json();
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ApiError(response?.status ?? 0, "The server does not answer. Is mert-search still running?");
  } finally {
    if (kind && running.get(kind) === controller) running.delete(kind);
  }
  if (!response.ok) throw new ApiError(response.status, body.error ?? response.statusText);
  return body;
}

/** Whether an error only says that a newer request has been made. */
export const isStale = (error) => error.name === "AbortError";
