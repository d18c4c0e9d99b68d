// Where does the ephemeral secret come from? A page never holds a key of the server.
import { Trouble, troubleOf } from "./trouble";

const SPARE_MS = 15_000; // a secret that ends sooner than this is not begun with

export interface Secret {
  value: string;
  expiresAtMs: number;
}

/** The secret in what a backend answers: OpenAI's shape, its older one, or the bare words. */
export function secretIn(answer: unknown, nowMs: number): Secret {
  const given = (typeof answer === "string" ? { value: answer.trim() } : answer) as {
    value?: unknown;
    token?: unknown;
    expires_at?: unknown;
    client_secret?: { value?: unknown; expires_at?: unknown } | string;
  } | null;
  const inner = typeof given?.client_secret === "string" ? { value: given.client_secret } : given?.client_secret;
  const value = given?.value ?? inner?.value ?? given?.token;
  const expires = given?.expires_at ?? inner?.expires_at;
  if (typeof value !== "string" || !value) throw new Trouble("no-secret", "the answer has no secret in it");
  if (!value.startsWith("ek_")) {
    throw new Trouble("bad-secret", "it does not begin with ek_: only ephemeral secrets may be in a page");
  }
  return { value, expiresAtMs: typeof expires === "number" ? expires * 1000 : nowMs };
}

export class Secrets {
  private kept: Promise<Secret> | null = null;

  constructor(private readonly ask: () => unknown) {}

  /** One that is good for a connection now. */
  async take(): Promise<string> {
    for (;;) {
      const isNew = this.kept === null;
      const asked = (this.kept ??= (async () => secretIn(await this.ask(), Date.now()))());
      try {
        const secret = await asked;
        if (isNew || secret.expiresAtMs - Date.now() > SPARE_MS) return secret.value;
      } catch (error) {
        if (this.kept === asked) this.kept = null;
        throw error;
      }
      if (this.kept === asked) this.kept = null;
    }
  }

  /** The server would not have it. */
  drop(): void {
    this.kept = null;
  }
}

/** Asks a URL for a secret, as `POST` without anything in it. */
export function secretFrom(url: string): () => Promise<unknown> {
  return async () => {
    let answer: Response;
    try {
      answer = await fetch(url, {
        method: "POST",
        headers: { "Content-Type": "application/json" },
        body: "{}",
        credentials: "same-origin",
        cache: "no-store",
      });
    } catch {
      throw new Trouble("unreachable", "the request for a secret failed");
    }
    if (answer.status === 401 || answer.status === 404 || answer.status === 405) {
      throw new Trouble("no-secret", `${answer.status} from the address for secrets`);
    }
    if (!answer.ok) throw await troubleOf(answer);
    const text = await answer.text();
    try {
      return JSON.parse(text) as unknown;
    } catch {
      return text;
    }
  };
}
