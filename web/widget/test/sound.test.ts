import { describe, expect, it } from "vitest";
import { Onsets } from "../src/audio/onsets";
import { fromBase64, toBase64, toFloats, toPcm16 } from "../src/audio/pcm";
import { Player, type PlayerNote } from "../src/audio/player";
import { Resampler } from "../src/audio/resampler";

const RATE_HZ = 8_000;
const BLOCK = 128;

function loud(n: number, value = 0.5): Float32Array {
  return new Float32Array(n).fill(value);
}

function player() {
  const notes: PlayerNote[] = [];
  const made = new Player(RATE_HZ, (note) => notes.push(note));
  const pull = (n = BLOCK) => {
    const out = new Float32Array(n);
    made.pull(out);
    return out;
  };
  return { player: made, notes, pull, kinds: () => notes.map(({ kind }) => kind) };
}

const rms = (samples: Float32Array) => Math.sqrt(samples.reduce((sum, x) => sum + x * x, 0) / samples.length);

describe("the player", () => {
  it("holds a little before it begins, and plays every sample once", () => {
    const { player, pull, kinds } = player_with(200);
    expect(pull()).toEqual(new Float32Array(BLOCK));
    player.push("r1", "i1", loud(200));
    player.end("r1");
    const played = [...pull(), ...pull(), ...pull(), ...pull()].filter((x) => x !== 0);
    expect(played).toHaveLength(400);
    expect(kinds()).toEqual(["started", "heard", "stopped"]);
  });

  it("plays a short answer that is complete at once", () => {
    const { player, pull, kinds } = player_with(20);
    player.end("r1");
    pull();
    expect(kinds()).toEqual(["started", "heard", "stopped"]);
  });

  it("tells the first sample that can be heard, not the first", () => {
    const { player, pull, notes } = playing();
    player.push("r1", "i1", new Float32Array(300));
    player.push("r1", "i1", loud(200));
    player.end("r1");
    for (let i = 0; i < 5; i++) pull();
    expect(notes.find(({ kind }) => kind === "started")).toMatchObject({ sample: 0 });
    expect(notes.find(({ kind }) => kind === "heard")).toMatchObject({ response: "r1", sample: 300 });
  });

  it("is silent after a flush, within 5 ms, and says how much was played", () => {
    const { player, pull, kinds } = player_with(4_000);
    pull();
    pull();
    expect(player.flush()).toEqual({ response: "r1", item: "i1", playedMs: (256 / RATE_HZ) * 1000, droppedMs: (3744 / RATE_HZ) * 1000 });
    const after = pull();
    expect(after.slice(0, 40).every((x, i, all) => x > 0 && (i === 0 || x < all[i - 1]!))).toBe(true);
    expect(after.slice(40).every((x) => x === 0)).toBe(true);
    expect(kinds()).not.toContain("stopped");
    expect(player.flush()).toBeNull();
  });

  it("says of an answer that was not begun that nothing was played", () => {
    const { player } = player_with(100);
    expect(player.flush()).toMatchObject({ item: "i1", playedMs: 0, droppedMs: 12.5 });
  });

  it("reaches a mark when what came before it was played", () => {
    const { player, pull, notes } = player_with(400);
    player.mark(7);
    player.push("r1", "i1", loud(400));
    pull();
    pull();
    expect(notes.some(({ kind }) => kind === "reached")).toBe(false);
    pull();
    pull();
    expect(notes.filter(({ kind }) => kind === "reached")).toEqual([{ kind: "reached", mark: 7 }]);
  });

  it("waits a little more after a hole, and loses nothing", () => {
    const { player, pull, kinds } = player_with(400);
    for (let i = 0; i < 4; i++) pull();
    player.push("r1", "i1", loud(400));
    expect(rms(pull())).toBe(0);
    player.push("r1", "i1", loud(400));
    expect(rms(pull())).toBeGreaterThan(0);
    expect(kinds()).toEqual(["started", "heard"]);
  });

  it("keeps two answers apart", () => {
    const { player, pull, notes } = player_with(200);
    player.end("r1");
    player.push("r2", "i2", loud(200));
    player.end("r2");
    for (let i = 0; i < 6; i++) pull();
    expect(notes.map((note) => ("response" in note ? `${note.kind} ${note.response}` : note.kind))).toEqual([
      "started r1", "heard r1", "stopped r1", "started r2", "heard r2", "stopped r2",
    ]);
  });

  function playing() {
    return player();
  }
  function player_with(n: number) {
    const made = player();
    made.player.push("r1", "i1", loud(n));
    return made;
  }
});

describe("the resampler", () => {
  const tone = (hz: number, rateHz: number, n: number) =>
    Float32Array.from({ length: n }, (_, i) => Math.sin((2 * Math.PI * hz * i) / rateHz));

  it.each([
    [48_000, 24_000],
    [44_100, 24_000],
    [24_000, 48_000],
    [24_000, 44_100],
    [16_000, 24_000],
  ])("%i to %i keeps a tone as it is, in whatever pieces it comes", (fromHz, toHz) => {
    const input = tone(1_000, fromHz, fromHz / 2);
    const resampler = new Resampler(fromHz, toHz);
    const out: number[] = [];
    for (let at = 0; at < input.length; at += 128) out.push(...resampler.push(input.subarray(at, at + 128)));
    out.push(...resampler.flush());
    expect(Math.abs(out.length - toHz / 2)).toBeLessThan(2);
    const expected = tone(1_000, toHz, out.length);
    const middle = out.slice(200, -200);
    const error = Math.sqrt(middle.reduce((sum, x, i) => sum + (x - expected[i + 200]!) ** 2, 0) / middle.length);
    expect(error).toBeLessThan(0.003);
  });

  it("lets nothing through that would fold", () => {
    const resampler = new Resampler(48_000, 24_000);
    const out = resampler.push(tone(14_000, 48_000, 24_000));
    expect(rms(out.subarray(200))).toBeLessThan(0.003);
  });

  it("of equal rates does nothing", () => {
    const input = loud(10);
    expect(new Resampler(24_000, 24_000).push(input)).toBe(input);
  });
});

describe("onsets", () => {
  it("are where sound begins after silence, not after a pause between words", () => {
    const onsets = new Onsets(RATE_HZ);
    expect(onsets.push(Float32Array.from([0, 0, 0.1, 0.1]))).toBe(2);
    expect(onsets.push(loud(100))).toBeNull();
    onsets.push(new Float32Array(RATE_HZ / 20));
    expect(onsets.push(loud(100))).toBeNull();
    onsets.push(new Float32Array(RATE_HZ / 5));
    expect(onsets.push(loud(100))).toBe(0);
  });
});

describe("samples on the wire", () => {
  it("come back as they went", () => {
    const pcm = Int16Array.from({ length: 10_001 }, (_, i) => (i * 37) % 65_536);
    expect(fromBase64(toBase64(pcm))).toEqual(pcm);
    expect(toPcm16(toFloats(pcm)).every((x, i) => Math.abs(x - pcm[i]!) <= 1)).toBe(true);
  });

  it("are clipped, not wrapped", () => {
    expect([...toPcm16(Float32Array.from([2, -2]))]).toEqual([32_767, -32_767]);
  });
});
