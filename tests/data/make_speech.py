"""Which questions do the tests and benches ask, and where in each recording does the voice end?

Speaks the questions with Debian's `flite` (deterministic: the same flite writes the same bytes) and writes
`speech/NN_voice.wav` and `speech/index.json` beside this file. Run it again after a change of the list:

    python tests/data/make_speech.py

`MORE_QUESTIONS` are not kept here but spoken on demand, into a folder of yours:

    python tests/data/make_speech.py --more build/more-speech
    voicestack bench wer --speech build/more-speech

The recordings of `voicestack gate` are the same questions, each in one voice, and lie in the package:

    python tests/data/make_speech.py --gate
"""

import argparse
import json
import subprocess
import tempfile
import wave
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

QUESTIONS = (
    "what is the capital of france",
    "how many days are in a week",
    "what color is the sky",
    "can you tell me a joke",
    "what time is it",
    "who wrote romeo and juliet",
    "how do i make a cup of tea",
    "what is the largest planet",
    "why do cats sleep so much",
    "what should i eat for dinner",
    "is it going to rain tomorrow",
    "how far away is the moon",
    "what is your name",
    "do you like music",
    "where do penguins live",
    "how many legs does a spider have",
    "what is the opposite of hot",
    "tell me something about elephants",
    "what is two plus three",
    "how can i sleep better at night",
    "which animal is the fastest",
    "what do bees make",
    "why is the ocean blue",
    "when does the summer begin",
    "can you help me with my homework",
)
MORE_QUESTIONS = (
    "how old is the universe",
    "what is the weather like today",
    "who painted the mona lisa",
    "where can i buy a new phone",
    "how do airplanes stay in the air",
    "please tell me a short story",
    "what is the tallest mountain in the world",
    "can you recommend a good book",
    "how much does a car cost",
    "when did the second world war end",
    "what language do they speak in brazil",
    "is there a hotel near the station",
    "how do i get to the airport",
    "what is the meaning of life",
    "could you repeat that please",
    "which river flows through london",
    "what are the colors of the rainbow",
    "how long does it take to learn piano",
    "i would like to order a pizza",
    "what happens when water freezes",
    "do dogs dream at night",
    "why do leaves change color in the fall",
    "set an alarm for seven in the morning",
    "how many people live in china",
    "what is your favorite movie",
)
VOICES = ("slt", "rms")
GATE = Path(__file__).resolve().parents[2] / "voicestack" / "cli" / "gate_data" / "recordings"
RATE_HZ = 16_000
WINDOW_SAMPLES = RATE_HZ // 100
SPEECH_DBFS = -45.0
LEAD_WINDOWS = 3
TAIL_WINDOWS = 4
PEAK = 0.7


def speak(words: str, voice: str) -> NDArray[np.int16]:
    """What flite says, at its own rate."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "spoken.wav"
        subprocess.run(["flite", "-voice", voice, "-t", words, "-o", str(path)], check=True)
        with wave.open(str(path)) as file:
            assert (file.getframerate(), file.getnchannels(), file.getsampwidth()) == (RATE_HZ, 1, 2)
            return np.frombuffer(file.readframes(file.getnframes()), dtype="<i2").astype(np.int16)


def loud_windows(pcm: NDArray[np.int16]) -> NDArray[np.intp]:
    """Indices of the 10 ms windows whose RMS is above SPEECH_DBFS."""
    windows = pcm[: len(pcm) // WINDOW_SAMPLES * WINDOW_SAMPLES].reshape(-1, WINDOW_SAMPLES)
    rms = np.sqrt(np.mean(windows.astype(np.float64) ** 2, axis=1)) / 32768
    return np.flatnonzero(rms > 10 ** (SPEECH_DBFS / 20))


def trimmed(pcm: NDArray[np.int16]) -> NDArray[np.int16]:
    """The speech at a fixed peak level, with 30 ms before it and 40 ms after it."""
    scaled: NDArray[np.int16] = np.rint(pcm * (PEAK * 32767 / np.abs(pcm.astype(np.int32)).max())).astype(
        np.int16
    )
    loud = loud_windows(scaled)
    start = max(0, int(loud[0]) - LEAD_WINDOWS) * WINDOW_SAMPLES
    end = (int(loud[-1]) + 1 + TAIL_WINDOWS) * WINDOW_SAMPLES
    return scaled[start:end]


def write(path: Path, pcm: NDArray[np.int16]) -> None:
    """Store as 16-bit mono WAV."""
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE_HZ)
        file.writeframes(pcm.astype("<i2").tobytes())


def write_folder(folder: Path, questions: tuple[str, ...]) -> None:
    """Write every question in every voice, and the index."""
    folder.mkdir(parents=True, exist_ok=True)
    index = []
    for number, words in enumerate(questions, start=1):
        for voice in VOICES:
            pcm = trimmed(speak(words, voice))
            name = f"{number:02d}_{voice}.wav"
            write(folder / name, pcm)
            loud = loud_windows(pcm)
            index.append(
                {
                    "file": name,
                    "words": words,
                    "voice": voice,
                    "n_samples": len(pcm),
                    "first_speech_sample": int(loud[0]) * WINDOW_SAMPLES,
                    "last_speech_sample": (int(loud[-1]) + 1) * WINDOW_SAMPLES - 1,
                }
            )
    (folder / "index.json").write_text(json.dumps(index, indent=1) + "\n")


def write_gate() -> None:
    """Write the recordings of the gate, in turn in either voice. Their words are in the set's own file."""
    GATE.mkdir(parents=True, exist_ok=True)
    for number, words in enumerate(MORE_QUESTIONS, start=1):
        voice = VOICES[number % len(VOICES)]
        write(GATE / f"{number:02d}_{voice}.wav", trimmed(speak(words, voice)))


def main() -> None:
    """See above."""
    parser = argparse.ArgumentParser(description="Speak the questions of the tests and benches with flite.")
    parser.add_argument("--more", type=Path, metavar="DIR", help="the other questions, into this folder")
    parser.add_argument("--gate", action="store_true", help="the recordings of `voicestack gate`")
    args = parser.parse_args()
    more: Path | None = args.more
    if args.gate:
        write_gate()
    elif more is not None:
        write_folder(more, MORE_QUESTIONS)
    else:
        write_folder(Path(__file__).parent / "speech", QUESTIONS)


if __name__ == "__main__":
    main()
