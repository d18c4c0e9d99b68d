"""How exact is the bench over WebRTC, and what of its result is the codec's?

The same click, the same known delay and the same harness as over the WebSocket (`bench_echo`), with packets
in between. Opus shifts and smears: the last sample of a buzz is still audible in a later packet, and the
first one of a click is not the first sample of its packet. Both are found by coding the very same samples
here, so what is left is the harness's own error.
"""

import numpy as np

from voicestack.aio.clock import Clock
from voicestack.cli.bench_echo import DELAY_MS, Calibration, calibration_lines, click, error_of
from voicestack.cli.bench_speech import Line
from voicestack.cli.bench_v2v import Outcome, Plan, measure
from voicestack.cli.rtc_caller import dial_rtc
from voicestack.cli.rtc_echo import rtc_echo_process
from voicestack.cli.speaker import CALL_RATE_HZ, FRAME_MS, FRAME_SAMPLES
from voicestack.cli.waveform import first_audible, last_audible
from voicestack.core.audio import Pcm
from voicestack.transports.opus import OpusDecoder, OpusEncoder

_N_QUIET = 10
"""Packets of silence before and after: what a microphone that is always on has sent."""


def coded(pcm: Pcm) -> Pcm:
    """What comes out of the codec for what goes in, packet by packet; `pcm` is whole frames."""
    encoder, decoder = OpusEncoder(CALL_RATE_HZ), OpusDecoder(CALL_RATE_HZ)
    frames = pcm.reshape(-1, FRAME_SAMPLES)
    return np.concatenate([decoder.decode(encoder.encode(frame)) for frame in frames])


def codec_ms(line: Line) -> float:
    """By how much Opus delays a question's last audible packet and the click's first audible sample."""
    n_frames = -(-len(line.pcm) // FRAME_SAMPLES) + 2 * _N_QUIET
    pcm = np.zeros(n_frames * FRAME_SAMPLES, dtype=np.int16)
    start = _N_QUIET * FRAME_SAMPLES
    pcm[start : start + len(line.pcm)] = line.pcm
    last = last_audible(coded(pcm), CALL_RATE_HZ)
    first = first_audible(coded(click()), CALL_RATE_HZ)
    if last is None or first is None:
        return 0.0
    n_late_frames = last // FRAME_SAMPLES - (start + line.last_speech) // FRAME_SAMPLES
    return n_late_frames * FRAME_MS + first * 1000 / CALL_RATE_HZ


async def calibrate_rtc(
    clock: Clock, *, n_turns: int, delay_ms: float = DELAY_MS, seed: int = 1
) -> Calibration:
    """Measure an echo over WebRTC whose delay is known, with the harness of the bench."""
    lines = calibration_lines(n_turns, seed)
    outcome = Outcome()
    async with rtc_echo_process(delay_ms) as (port, _):
        plan = Plan(f"http://127.0.0.1:{port}", n_turns=n_turns, seed=seed)
        await measure(plan, lines, clock, outcome=outcome, dial=dial_rtc)
    return error_of(outcome.turns, lines, delay_ms, codec=codec_ms)
