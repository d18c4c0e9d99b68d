// Questions to the server, with the key of whoever is looking.

const KEY = "voicestack-key";
export const API = "/dashboard/api";

/** Why there is no answer. `status` 0: the server was not reached. */
export class AskFailed extends Error {
  constructor(
    readonly status: number,
    readonly code: string,
    message: string,
  ) {
    super(message);
  }
}

export const heldKey = (): string => sessionStorage.getItem(KEY) ?? "";

export function holdKey(key: string): void {
  if (key) sessionStorage.setItem(KEY, key);
  else sessionStorage.removeItem(KEY);
}

export function headers(): { [name: string]: string } {
  const key = heldKey();
  return key ? { Authorization: `Bearer ${key}` } : {};
}

export function urlOf(path: string, query: { [name: string]: string }): string {
  const asked = new URLSearchParams(query).toString();
  return `${API}/${path}${asked ? `?${asked}` : ""}`;
}

/** The response, if it is a good one. */
export async function reach(url: string, signal: AbortSignal): Promise<Response> {
  let response: Response;
  try {
    response = await fetch(url, { headers: headers(), signal, cache: "no-store", credentials: "omit" });
  } catch (error) {
    if (signal.aborted) throw error;
    throw new AskFailed(0, "unreachable", "The server does not answer.");
  }
  if (!response.ok) throw await failureOf(response);
  return response;
}

async function failureOf(response: Response): Promise<AskFailed> {
  let code = `http_${response.status}`;
  let message = `The server answered with ${response.status}.`;
  try {
    const { error } = (await response.json()) as { error?: { code?: string; message?: string } };
    code = error?.code ?? code;
    message = error?.message ?? message;
  } catch {
    // no error object: a proxy said it
  }
  return new AskFailed(response.status, code, message);
}

export async function ask<T>(path: string, query: { [name: string]: string }, signal: AbortSignal): Promise<T> {
  const response = await reach(urlOf(path, query), signal);
  try {
    return (await response.json()) as T;
  } catch (error) {
    if (signal.aborted) throw error;
    throw new AskFailed(0, "garbled", "The server's answer was cut short.");
  }
}
