// What the Node programs share: where the server is, a microphone, and how they say what they saw.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";

const CHUNK_MS = 20;
const CHUNK_BYTES = CHUNK_MS * 48; // 24 kHz, 16 bit, mono
const SCENARIO_LIMIT_MS = 30_000;

export const [URL_HERE, SPEECH, ...ONLY] = process.argv.slice(2);
export const BRIEF = "You are a friendly assistant on the telephone. Answer every question in one short sentence.";
export const TALKATIVE = "You are a friendly assistant on the telephone. Answer every question with a long story.";

/** Sends sound in real time, all the time: silence when nobody says anything. */
export class Microphone {
  #left = Buffer.alloc(0);
  #isOn = true;

  constructor(send) {
    this.#run(send);
  }

  async #run(send) {
    let due = performance.now();
    while (this.#isOn) {
      const chunk = Buffer.alloc(CHUNK_BYTES);
      this.#left.copy(chunk);
      this.#left = this.#left.subarray(CHUNK_BYTES);
      send(chunk);
      due += CHUNK_MS;
      await pause(Math.max(0, due - performance.now()));
    }
  }

  /** Play a recording into it. Resolves when it has been said. */
  async say(recording) {
    this.#left = readFileSync(join(SPEECH, `${recording}.pcm`));
    while (this.#left.length) await pause(CHUNK_MS);
  }

  off() {
    this.#isOn = false;
  }
}

/** How long and how loud 24 kHz audio is. */
export function sound(chunks) {
  const pcm = Buffer.concat(chunks);
  let peak = 0;
  for (let at = 0; at + 1 < pcm.length; at += 2) peak = Math.max(peak, Math.abs(pcm.readInt16LE(at)));
  return { audio_ms: Math.floor(pcm.length / 48), peak };
}

/** Lets a scenario wait for what callbacks tell: every change wakes those who wait. */
export class Changes {
  #waiting = [];
  #failure = null;

  changed() {
    for (const wake of this.#waiting.splice(0)) wake();
  }

  failed(error) {
    this.#failure = error;
    this.changed();
  }

  async until(isTrue) {
    while (!isTrue()) {
      if (this.#failure) throw this.#failure;
      await new Promise((wake) => this.#waiting.push(wake));
    }
  }
}

/** Run each scenario, or those that are named, and print one line of JSON about it. */
export async function run(scenarios) {
  for (const [scenario, play] of Object.entries(scenarios)) {
    if (ONLY.length && !ONLY.includes(scenario)) continue;
    const line = { scenario };
    const began = performance.now();
    const limit = new AbortController();
    try {
      const late = pause(SCENARIO_LIMIT_MS, null, { signal: limit.signal }).then(() => {
        throw new Error(`${scenario} takes longer than ${SCENARIO_LIMIT_MS} ms`);
      });
      line.saw = await Promise.race([play(), late]);
    } catch (error) {
      line.failed = String(error?.stack ?? error);
    }
    limit.abort();
    line.took_s = Math.round(performance.now() - began) / 1000;
    console.log(JSON.stringify(line));
  }
  process.exit(0);
}

process.on("unhandledRejection", (error) => {
  if (error?.name !== "AbortError") console.error("unhandled:", error);
});
