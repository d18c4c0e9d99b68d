// What went wrong, as something that the page can say to its visitor?

export type TroubleCode =
  | "insecure"
  | "mic-denied"
  | "mic-missing"
  | "mic-busy"
  | "mic-failed"
  | "no-secret"
  | "bad-secret"
  | "refused"
  | "origin"
  | "busy"
  | "unreachable"
  | "lost"
  | "over"
  | "failed";

/** A fault with a stable code. `detail` is for the developer's console, and never holds a secret. */
export class Trouble extends Error {
  constructor(
    readonly code: TroubleCode,
    readonly detail = "",
    readonly retryAfterMs = 0,
  ) {
    super(detail ? `${code}: ${detail}` : code);
    this.name = "Trouble";
  }

  /** Whether to try again may help, without anybody doing anything about it. */
  get passes(): boolean {
    return this.code === "busy" || this.code === "unreachable" || this.code === "lost";
  }
}

/** Why the microphone is not there, from what getUserMedia rejects with. */
export function microphoneTrouble(error: unknown): Trouble {
  const name = error instanceof Error || error instanceof DOMException ? error.name : "";
  switch (name) {
    case "NotAllowedError":
    case "SecurityError":
      return new Trouble("mic-denied", name);
    case "NotFoundError":
    case "OverconstrainedError":
      return new Trouble("mic-missing", name);
    case "NotReadableError":
    case "AbortError":
      return new Trouble("mic-busy", name);
    default:
      return new Trouble("mic-failed", name || String(error));
  }
}

/** Why the server said no, from its status and the words of its error. */
export function refusalTrouble(status: number, code: string, message: string, retryAfter: string | null): Trouble {
  const detail = `${status} ${code} ${message}`.trim();
  const seconds = Number(retryAfter);
  if (status === 429 || status === 503) return new Trouble("busy", detail, seconds > 0 ? seconds * 1000 : 1000);
  if (status === 403 && /origin/i.test(`${code} ${message}`)) return new Trouble("origin", detail);
  if (status === 401 || status === 403) return new Trouble("refused", detail);
  if (status >= 500) return new Trouble("unreachable", detail);
  return new Trouble("failed", detail);
}

/** Reads an answer that is not what was asked for. */
export async function troubleOf(answer: Response): Promise<Trouble> {
  let code = "";
  let message = "";
  try {
    const body = (await answer.json()) as { error?: { code?: string; message?: string } };
    code = body.error?.code ?? "";
    message = body.error?.message ?? "";
  } catch {
    // no JSON: a proxy's page
  }
  return refusalTrouble(answer.status, code, message, answer.headers.get("Retry-After"));
}
