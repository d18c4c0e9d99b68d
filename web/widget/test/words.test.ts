import { describe, expect, it, vi } from "vitest";
import { ENGLISH, wordsOf, type Strings } from "../src/ui/strings";
import { WORDS as GERMAN } from "../src/ui/words/de";
import { WORDS as FRENCH } from "../src/ui/words/fr";

/** Every word with its name, and the blanks in it. */
function blanks(words: object, path = ""): string[] {
  return Object.entries(words).flatMap(([name, value]: [string, unknown]) =>
    typeof value === "string"
      ? [`${path}${name} ${(value.match(/\{\w+\}/g) ?? []).join()}`]
      : blanks(value as object, `${path}${name}.`),
  );
}

describe("the words of other languages", () => {
  it.each<[string, Strings]>([
    ["de", GERMAN],
    ["fr", FRENCH],
  ])("%s says all of it, with the same blanks", (_, words) => {
    expect(blanks(words)).toEqual(blanks(ENGLISH));
  });

  it("are English until they are here, and where there are none", async () => {
    const onLoad = vi.fn();
    expect(wordsOf("de-CH", onLoad)).toBe(ENGLISH);
    await vi.waitFor(() => expect(onLoad).toHaveBeenCalled());
    expect(wordsOf("de-CH", onLoad)).toBe(GERMAN);
    expect(wordsOf("xx", onLoad)).toBe(ENGLISH);
    expect(wordsOf("", onLoad)).toBe(ENGLISH);
  });

  it("begin, in English, with Start", () => {
    for (const words of [ENGLISH.start, ENGLISH.startAgain, ENGLISH.startContinue]) expect(words).toMatch(/^Start/);
  });
});
