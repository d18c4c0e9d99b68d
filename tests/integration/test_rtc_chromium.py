"""Does a real browser get on with a link? Chromium, through what it measures itself."""

import asyncio
from collections.abc import Callable
from typing import Any

from tests.support.chromium import chromium_page
from tests.support.rtc_links import ON_LOOPBACK, LinkLog, in_real_time
from tests.support.rtc_peer import pitch_hz, tone
from tests.support.turn_server import turn_server
from voicestack.aio.clock import SystemClock
from voicestack.aio.scope import Scope
from voicestack.core.audio import EAR_RATE_HZ
from voicestack.transports.link import PLAY_RATE_HZ
from voicestack.transports.rtc_link import RtcLink

BEGIN = """async ([servers, policy, video]) => {
    window.pc = new RTCPeerConnection({iceServers: servers, iceTransportPolicy: policy});
    const context = new AudioContext();
    const tone = context.createOscillator();
    const microphone = context.createMediaStreamDestination();
    tone.frequency.value = 500;
    tone.connect(microphone);
    tone.start();
    if (video) pc.addTransceiver('video');
    pc.addTrack(microphone.stream.getTracks()[0], microphone.stream);
    window.channel = pc.createDataChannel('oai-events');
    window.messages = [];
    channel.onmessage = (event) => messages.push(event.data);
    pc.ontrack = (event) => {
        if (event.track.kind !== 'audio') return;
        window.ear = context.createAnalyser();
        ear.fftSize = 8192;
        window.loudspeaker = new Audio();
        loudspeaker.srcObject = event.streams[0];
        loudspeaker.play();
        context.createMediaStreamSource(event.streams[0]).connect(ear);
    };
}"""
OFFER = """async (options) => {
    await pc.setLocalDescription(await pc.createOffer(options));
    const complete = () => pc.iceGatheringState === 'complete';
    for (let n = 0; n < 40 && !complete(); n++) await new Promise((done) => setTimeout(done, 50));
    return pc.localDescription.sdp;
}"""
ACCEPT = "(sdp) => pc.setRemoteDescription({type: 'answer', sdp})"
PITCH = """() => {
    const bins = new Float32Array(ear.frequencyBinCount);
    ear.getFloatFrequencyData(bins);
    return bins.indexOf(Math.max(...bins)) * ear.context.sampleRate / ear.fftSize;
}"""
STATS = """async () => {
    const found = {};
    for (const each of (await pc.getStats()).values()) found[each.type] = each;
    return found;
}"""


async def until(holds: Callable[[], bool], *, timeout_s: float = 20.0) -> None:
    async with asyncio.timeout(timeout_s):
        while not holds():  # noqa: ASYNC110 (there is nothing that says so)
            await asyncio.sleep(0.02)


async def talk(page: Any, log: LinkLog) -> None:
    """Both hear each other, and events go both ways."""
    voice = tone(700, 2.5, PLAY_RATE_HZ)
    n_before, n_messages = sum(map(len, log.parts)), len(log.messages)
    await page.evaluate("channel.send('to the server')")
    log.link.send([b"to the browser"])
    log.link.play(voice)
    await until(lambda: sum(map(len, log.parts)) - n_before > 1.5 * EAR_RATE_HZ)
    assert abs(pitch_hz(log.heard[-EAR_RATE_HZ // 2 :], EAR_RATE_HZ) - 500) < 5
    assert abs(await page.evaluate(PITCH) - 700) < 15
    assert len(log.messages) == n_messages + 1
    assert (await page.evaluate("messages"))[-1] == "to the browser"


async def connect(page: Any, log: LinkLog, begin: list[Any]) -> None:
    await page.evaluate(BEGIN, begin)
    answer = await log.link.answer(await page.evaluate(OFFER, {}))
    await page.evaluate(ACCEPT, answer)
    await until(lambda: log.n_opened == 1)


@in_real_time
async def test_a_call_with_a_restart_in_the_middle() -> None:
    async with chromium_page() as page, Scope() as scope:
        log = LinkLog(RtcLink(ON_LOOPBACK, SystemClock(), scope))
        await connect(page, log, [[], "all", False])
        await talk(page, log)
        before = await page.evaluate("pc.remoteDescription.sdp")
        answer = await log.link.restart(await page.evaluate(OFFER, {"iceRestart": True}))
        await page.evaluate(ACCEPT, answer)
        await until(lambda: log.link.figures.n_restarts == 1)
        assert await page.evaluate("pc.remoteDescription.sdp") != before
        await talk(page, log)
        await until(lambda: log.link.figures.rtt_ms is not None)
        stats = await page.evaluate(STATS)
        assert stats["remote-inbound-rtp"]["packetsLost"] == 0  # our receiver reports
        assert stats["remote-inbound-rtp"]["roundTripTime"] < 1
        assert stats["remote-outbound-rtp"]["packetsSent"] > 50  # our sender reports
        assert log.link.figures.n_lost <= 2
        await page.evaluate("pc.close()")
        await until(lambda: log.reasons != [])


@in_real_time
async def test_we_hang_up_and_the_browser_notices() -> None:
    async with chromium_page() as page, Scope() as scope:
        log = LinkLog(RtcLink(ON_LOOPBACK, SystemClock(), scope))
        await connect(page, log, [[], "all", False])
        log.link.close("enough")
        await page.wait_for_function("channel.readyState === 'closed'", timeout=5000)
        assert log.reasons == ["enough"]


@in_real_time
async def test_an_offer_that_begins_with_video() -> None:
    async with chromium_page() as page, Scope() as scope:
        log = LinkLog(RtcLink(ON_LOOPBACK, SystemClock(), scope))
        await connect(page, log, [[], "all", True])
        await talk(page, log)


def test_the_browser_is_behind_turn() -> None:
    with turn_server() as turn:
        server = {"urls": [turn.url], "username": turn.username, "credential": turn.credential}

        @in_real_time
        async def run() -> None:
            async with chromium_page() as page, Scope() as scope:
                log = LinkLog(RtcLink(ON_LOOPBACK, SystemClock(), scope))
                await connect(page, log, [[server], "relay", False])
                await talk(page, log)

        run()
