// Figures as people read them.

const NONE = "–";
export type Maybe = number | null | undefined;

function known(value: Maybe): value is number {
  return value !== null && value !== undefined && Number.isFinite(value);
}

/** 742 ms, 1.54 s, 2 min 5 s. Below 10 ms with one decimal. */
export function ms(value: Maybe): string {
  if (!known(value)) return NONE;
  const size = Math.abs(value);
  if (size < 9.95) return `${trimmed(value, 1)} ms`;
  if (size < 999.5) return `${Math.round(value)} ms`;
  if (size < 59_995) return `${trimmed(value / 1000, 2)} s`;
  return lasting(value);
}

/** 45 s, 5 min, 2 h 30 min, 3 days. */
export function lasting(value: Maybe): string {
  if (!known(value)) return NONE;
  const seconds = Math.round(value / 1000);
  if (seconds < 60) return `${seconds} s`;
  const steps: [number, string][] = [[86_400, "d"], [3_600, "h"], [60, "min"], [1, "s"]];
  const first = steps.findIndex(([size]) => seconds >= size);
  const [size, unit] = steps[first]!;
  const whole = Math.floor(seconds / size);
  const [below, small] = steps[first + 1] ?? [1, ""];
  const rest = small ? Math.floor((seconds % size) / below) : 0;
  const named = unit === "d" ? (whole === 1 ? "1 day" : `${whole} days`) : `${whole} ${unit}`;
  return rest ? `${named} ${rest} ${small}` : named;
}

function trimmed(value: number, digits: number): string {
  return String(Number(value.toFixed(digits)));
}

/** 98.2 %. Never 100 % for something that is not all, nor 0 % for something that is not nothing. */
export function percent(ratio: Maybe): string {
  if (!known(ratio)) return NONE;
  const value = ratio * 100;
  if (value > 0 && value < 0.1) return "under 0.1 %";
  if (value < 100 && value > 99.9) return "over 99.9 %";
  return `${trimmed(value, 1)} %`;
}

/** 12,408 */
export function count(value: Maybe): string {
  return known(value) ? Math.round(value).toLocaleString("en-US") : NONE;
}

/** 1 turn, 2 turns. */
export function many(n: number, one: string, more = `${one}s`): string {
  return `${count(n)} ${n === 1 ? one : more}`;
}

/** 1.25× */
export function times(value: Maybe): string {
  return known(value) ? `${trimmed(value, value < 10 ? 2 : 1)}×` : NONE;
}

/** 1.00×: a ratio whose second decimal counts. */
export function factor(value: Maybe): string {
  return known(value) ? `${value.toFixed(2)}×` : NONE;
}

/** Any figure that comes without a unit of its own. */
export function plain(value: Maybe): string {
  if (!known(value)) return NONE;
  return Number.isInteger(value) ? count(value) : trimmed(value, Math.abs(value) < 1 ? 3 : 1);
}

const pad = (value: number, n = 2) => String(value).padStart(n, "0");

/** 14:05:09 in the reader's time zone. */
export function clock(unixMs: number): string {
  const at = new Date(unixMs);
  return `${pad(at.getHours())}:${pad(at.getMinutes())}:${pad(at.getSeconds())}`;
}

/** 2026-11-28 14:05 in the reader's time zone. */
export function minute(unixMs: number): string {
  const at = new Date(unixMs);
  return `${at.getFullYear()}-${pad(at.getMonth() + 1)}-${pad(at.getDate())} ${pad(at.getHours())}:${pad(at.getMinutes())}`;
}

/** The same with seconds. */
export function second(unixMs: number): string {
  return `${minute(unixMs)}:${pad(new Date(unixMs).getSeconds())}`;
}

/** The value of an input of type datetime-local. */
export function localInput(unixMs: number): string {
  return minute(unixMs).replace(" ", "T");
}

/** At a glance on an axis: the time within a day, the date beyond. */
export function tick(unixMs: number, lengthMs: number): string {
  const text = minute(unixMs);
  if (lengthMs > 2 * 86_400_000) return text.slice(5, 10);
  return lengthMs <= 15 * 60_000 ? clock(unixMs) : text.slice(11);
}
