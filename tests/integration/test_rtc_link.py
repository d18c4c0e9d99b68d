"""Does a peer connection carry what it should, both ways, and end as it should? Against plain aiortc."""

import asyncio
from dataclasses import replace

import pytest
from aiortc import RTCIceServer, RTCSessionDescription
from aiortc.rtcsctptransport import SackChunk

from tests.support.rtc_links import ON_LOOPBACK, LinkLog, in_real_time, linked
from tests.support.rtc_peer import RtcPeer, pitch_hz, tone
from tests.support.turn_server import turn_server
from voicestack.aio.clock import SystemClock
from voicestack.aio.scope import Scope
from voicestack.core.audio import EAR_RATE_HZ
from voicestack.core.errors import Overloaded, PeerProtocolError, TransportLost
from voicestack.transports import rtc_path
from voicestack.transports.link import PLAY_RATE_HZ
from voicestack.transports.rtc_link import RtcLink
from voicestack.transports.rtc_settings import IceServer


@in_real_time
async def test_audio_in() -> None:
    async with linked() as (peer, log):
        peer.microphone.say(tone(440, 2.0))
        await peer.wait_until(lambda: len(log.heard) > 1.2 * EAR_RATE_HZ)
        assert abs(pitch_hz(log.heard[-EAR_RATE_HZ // 2 :], EAR_RATE_HZ) - 440) < 5
        assert log.arrivals_ns == sorted(log.arrivals_ns)
        assert log.link.figures.n_packets_in > 50


@in_real_time
async def test_audio_out() -> None:
    async with linked() as (peer, log):
        speech = tone(600, 1.0, PLAY_RATE_HZ)
        for at in range(0, len(speech), 960):
            log.link.play(speech[at : at + 960])
            await asyncio.sleep(0.035)
        log.link.rest()
        await peer.wait_until(lambda: log.link.figures.n_packets_out == 50)
        await peer.wait_until(lambda: peer.n_frames >= 45)
        assert abs(pitch_hz(peer.heard[9600:-9600], 48_000) - 600) < 5
        assert len(log.late_ns) == 50


@in_real_time
async def test_events_both_ways_in_order() -> None:
    async with linked() as (peer, log):
        sent = [f'{{"n":{n}}}' for n in range(50)]
        for message in sent:
            peer.channel.send(message)
        peer.channel.send(b"\x00\x01")
        log.link.send([message.encode() for message in sent])
        log.link.send(["\u00e4\u4e16".encode()])
        await peer.wait_until(lambda: len(log.messages) == 51 and len(peer.messages) == 51)
        assert log.messages == [*sent, b"\x00\x01"]
        assert peer.messages == [*sent, "\u00e4\u4e16"]


@in_real_time
async def test_flush_drops_at_once() -> None:
    async with linked() as (_, log):
        log.link.play(tone(600, 2.0, PLAY_RATE_HZ))
        log.link.flush()
        await asyncio.sleep(0.1)
        assert log.link.figures.n_packets_out == 1


@in_real_time
async def test_the_peer_hangs_up() -> None:
    async with linked() as (peer, log):
        await peer.pc.close()
        await peer.wait_until(lambda: log.reasons != [])
        assert log.reasons[0].startswith("the peer ")


@in_real_time
async def test_we_hang_up() -> None:
    async with linked() as (peer, log):
        log.link.close("enough")
        assert log.reasons == []  # not from within the call
        await peer.wait_until(lambda: peer.pc.connectionState == "closed")
        assert log.reasons == ["enough"]
        log.link.close("again")
        log.link.send([b"{}"])
        log.link.play(tone(600, 0.1, PLAY_RATE_HZ))


@in_real_time
async def test_an_offer_that_is_none() -> None:
    async with Scope() as scope:
        link = RtcLink(ON_LOOPBACK, SystemClock(), scope)
        with pytest.raises(PeerProtocolError) as caught:
            await link.answer("v=0\r\n")
        assert caught.value.wire_code == "invalid_offer"


@in_real_time
async def test_nobody_calls() -> None:
    settings = replace(ON_LOOPBACK, connect_timeout_ms=100)
    async with Scope() as scope, RtcPeer() as peer:
        log = LinkLog(RtcLink(settings, SystemClock(), scope))
        await peer.pc.setLocalDescription(await peer.pc.createOffer())
        await log.link.answer(peer.pc.localDescription.sdp)
        await peer.wait_until(lambda: log.reasons != [])
        assert log.reasons == ["the peer did not connect in time"]


@in_real_time
async def test_the_peer_comes_back_from_elsewhere() -> None:
    async with linked() as (peer, log):
        before = log.link.client
        peer.microphone.say(tone(440, 20.0))
        await peer.restart(log.link.restart)
        await peer.wait_until(lambda: log.link.figures.n_restarts == 1)
        assert log.link.client != before
        n_before = len(log.parts)
        log.link.send([b'{"type":"still here"}'])
        peer.channel.send("me too")
        log.link.play(tone(600, 0.4, PLAY_RATE_HZ))
        await peer.wait_until(lambda: len(log.parts) > n_before + 30 and log.messages == ["me too"])
        await peer.wait_until(lambda: peer.messages == ['{"type":"still here"}'] and peer.n_frames > 10)
        figures = log.link.figures
        assert figures.n_lost <= 2
        assert figures.n_refused == 0


@in_real_time
async def test_a_restart_that_does_not_connect_leaves_the_call_alone() -> None:
    async with linked(replace(ON_LOOPBACK, connect_timeout_ms=3000)) as (peer, log):
        offer = peer.pc.localDescription.sdp
        answer = await log.link.restart(offer.replace(peer.ufrag, "abcdefgh"))
        assert "a=setup:active" in answer
        paths = log.link._paths
        tried = paths.latest
        await peer.wait_until(lambda: paths.latest is not tried)
        peer.channel.send("still here")
        await peer.wait_until(lambda: log.messages == ["still here"])
        assert log.link.figures.n_restarts == 0


@in_real_time
async def test_an_offer_with_the_same_ufrag_changes_nothing() -> None:
    async with linked() as (peer, log):
        answer = await log.link.restart(peer.pc.localDescription.sdp)
        before = peer.pc.remoteDescription.sdp
        assert next(line for line in answer.splitlines() if "ice-ufrag" in line) in before


@in_real_time
async def test_a_restart_by_somebody_else_is_refused() -> None:
    async with linked() as (_, log), RtcPeer() as other:
        await other.pc.setLocalDescription(await other.pc.createOffer())
        with pytest.raises(PeerProtocolError) as caught:
            await log.link.restart(other.pc.localDescription.sdp)
        assert caught.value.wire_code == "invalid_offer"


@in_real_time
async def test_a_peer_without_our_channel_is_not_waited_for() -> None:
    settings = replace(ON_LOOPBACK, connect_timeout_ms=5000)
    async with Scope() as scope, RtcPeer(label="chat") as peer:
        log = LinkLog(RtcLink(settings, SystemClock(), scope))
        await peer.call(log.link.answer)
        await peer.wait_until(lambda: log.reasons != [])
        assert log.reasons == ["the peer opened no data channel oai-events"]


@in_real_time
async def test_an_audio_only_offer() -> None:
    async with Scope() as scope, RtcPeer() as peer:
        log = LinkLog(RtcLink(ON_LOOPBACK, SystemClock(), scope))

        await peer.pc.setLocalDescription(await peer.pc.createOffer())
        offer = peer.pc.localDescription.sdp.replace("UDP/DTLS/SCTP", "UDP/OTHER")
        head, refused, rest = (await log.link.answer(offer)).partition("m=application 0 ")
        assert refused
        # aiortc wants to be told how to reach what was refused, too.
        ice = [line for line in head.splitlines() if line.startswith(("a=ice", "a=finger", "a=setup"))]
        sdp = "\r\n".join([head + refused + rest.replace("UDP/OTHER", "UDP/DTLS/SCTP").strip(), *ice, ""])
        await peer.pc.setRemoteDescription(RTCSessionDescription(sdp, "answer"))
        peer.microphone.say(tone(440, 2.0))
        await peer.wait_until(lambda: log.n_opened == 1 and len(log.heard) > EAR_RATE_HZ // 2)


@pytest.mark.parametrize("n_lost", [1, 2])
def test_a_handshake_with_losses(n_lost: int) -> None:
    """OpenSSL repeats after a second, by its own clock."""
    lost: list[bytes] = []
    put = rtc_path.RtcPath.put

    def lossy(path: rtc_path.RtcPath, datagram: bytes) -> None:
        if len(lost) < n_lost and datagram[0] == 22:
            lost.append(datagram)
        else:
            put(path, datagram)

    @in_real_time
    async def run() -> None:
        async with linked() as (peer, log):
            peer.channel.send("here")
            await peer.wait_until(lambda: log.messages == ["here"])

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rtc_path.RtcPath, "put", lossy)
        run()
    assert len(lost) == n_lost


def impatient(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(rtc_path, "CONSENT_INTERVAL_S", 0.05)
    patch.setattr(rtc_path, "CONSENT_REPEATS", 0)


def test_a_peer_that_vanishes_is_missed() -> None:
    @in_real_time
    async def run() -> None:
        async with linked(replace(ON_LOOPBACK, consent_timeout_ms=1500)) as (peer, log):
            peer.deaf = True
            await peer.wait_until(lambda: log.reasons != [])
            assert log.reasons == ["the peer is gone"]

    with pytest.MonkeyPatch.context() as patch:
        impatient(patch)
        run()


def test_a_brief_loss_is_survived() -> None:
    @in_real_time
    async def run() -> None:
        async with linked(replace(ON_LOOPBACK, consent_timeout_ms=3000)) as (peer, log):
            peer.deaf = True
            await asyncio.sleep(0.7)
            peer.deaf = False
            await asyncio.sleep(3.5)
            peer.channel.send("back")
            await peer.wait_until(lambda: log.messages == ["back"])
            assert log.reasons == []

    with pytest.MonkeyPatch.context() as patch:
        impatient(patch)
        run()


@in_real_time
async def test_a_peer_that_does_not_read_is_cut_off() -> None:
    async with linked(replace(ON_LOOPBACK, max_unsent_bytes=100_000)) as (peer, log):
        peer.deaf = True
        for _ in range(30):
            n_reasons = len(log.reasons)
            log.link.send([b'"' + bytes(10_000) + b'"'])
            assert len(log.reasons) == n_reasons  # not from within the call
            await asyncio.sleep(0.001)
        assert log.reasons == ["the peer does not read its events"]


@in_real_time
async def test_the_longest_events() -> None:
    async with linked() as (peer, log):
        peer.channel.send("x" * 262_144)
        log.link.send([b"y" * 65_536])
        await peer.wait_until(lambda: bool(log.messages and peer.messages))
        assert log.messages == ["x" * 262_144]
        assert peer.messages == ["y" * 65_536]
        log.link.send([b"y" * 262_145, b"after"])
        await peer.wait_until(lambda: len(peer.messages) == 2)
        assert peer.messages[1] == "after"
        assert log.link.figures.n_events_dropped == 1


@in_real_time
async def test_channels_with_other_labels_are_nobodys() -> None:
    async with Scope() as scope, RtcPeer(label="chat") as peer:
        log = LinkLog(RtcLink(ON_LOOPBACK, SystemClock(), scope))
        await peer.call(log.link.answer)
        await peer.opened()
        peer.channel.send("hello")
        second = peer.pc.createDataChannel("oai-events")
        await peer.wait_until(lambda: second.readyState == "open" and log.n_opened == 1)
        second.send("event")
        await peer.wait_until(lambda: log.messages != [])
        assert log.messages == ["event"]


@in_real_time
async def test_a_bug_in_what_hears_ends_its_scope() -> None:
    async def call() -> None:
        async with Scope() as scope, RtcPeer() as peer:
            link = RtcLink(ON_LOOPBACK, SystemClock(), scope)
            link.on_audio = lambda pcm, arrived_ns: 1 // 0  # type: ignore[assignment]
            await peer.call(link.answer)
            await peer.opened()
            await asyncio.sleep(5)

    with pytest.raises(ZeroDivisionError):
        await call()


@in_real_time
async def test_ports_come_from_the_range_and_run_out() -> None:
    settings = replace(ON_LOOPBACK, port_min=45_600, port_max=45_600)
    async with Scope() as scope, RtcPeer() as peer:
        link = RtcLink(settings, SystemClock(), scope)
        answer = await peer.call(link.answer)
        assert " 127.0.0.1 45600 typ host" in answer
        with pytest.raises(Overloaded):
            await RtcLink(settings, SystemClock(), scope).answer(peer.pc.localDescription.sdp)


@in_real_time
async def test_a_dead_stun_server_and_a_nat() -> None:
    settings = replace(
        ON_LOOPBACK,
        public_address="192.0.2.7",
        ice_servers=(IceServer("stun:127.0.0.1:9"),),
        gather_timeout_ms=100,
    )
    async with Scope() as scope, RtcPeer() as peer:
        answer = await peer.call(RtcLink(settings, SystemClock(), scope).answer)
        assert " 192.0.2.7 " in answer
        await peer.opened()


def test_the_peer_is_behind_turn() -> None:
    with turn_server() as turn:

        @in_real_time
        async def run() -> None:
            peer = RtcPeer(
                ice_servers=[RTCIceServer([turn.url], turn.username, turn.credential)], relay_only=True
            )
            async with linked(caller=peer) as (_, log):
                peer.microphone.say(tone(440, 3.0))
                log.link.play(tone(600, 0.5, PLAY_RATE_HZ))
                await peer.wait_until(lambda: len(log.heard) > EAR_RATE_HZ and peer.n_frames > 20)
                assert abs(pitch_hz(log.heard[-8000:], EAR_RATE_HZ) - 440) < 5

        run()


def test_we_are_behind_turn() -> None:
    with turn_server() as turn:
        settings = replace(
            ON_LOOPBACK,
            relay_only=True,
            ice_servers=(IceServer(turn.url, turn.username, turn.credential),),
        )

        @in_real_time
        async def run() -> None:
            async with linked(settings, RtcPeer()) as (peer, log):
                assert " typ relay" in peer.pc.remoteDescription.sdp
                peer.microphone.say(tone(440, 3.0))
                log.link.play(tone(600, 0.5, PLAY_RATE_HZ))
                await peer.wait_until(lambda: len(log.heard) > EAR_RATE_HZ and peer.n_frames > 20)

        run()


def test_a_turn_server_that_died_is_not_waited_for() -> None:
    with turn_server() as turn:
        settings = replace(ON_LOOPBACK, ice_servers=(IceServer(turn.url, turn.username, turn.credential),))

        @in_real_time
        async def run() -> None:
            async with linked(settings) as (peer, _):
                assert " typ relay" in peer.pc.remoteDescription.sdp
                turn.stall()

        run()


def test_a_machine_with_no_network() -> None:
    @in_real_time
    async def run() -> None:
        async with Scope() as scope, RtcPeer() as peer:
            link = RtcLink(replace(ON_LOOPBACK, addresses=()), SystemClock(), scope)
            answer = await peer.call(link.answer)
            assert " 127.0.0.1 " in answer

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rtc_path, "get_host_addresses", lambda **_: [])
        run()


@in_real_time
async def test_ipv6() -> None:
    settings = replace(ON_LOOPBACK, addresses=("::1",))
    async with Scope() as scope, RtcPeer() as peer:
        try:
            answer = await peer.call(RtcLink(settings, SystemClock(), scope).answer)
        except Overloaded:
            pytest.skip("this machine has no IPv6")
        if not any(":" in each.host for each in peer.ice._connection.local_candidates):
            pytest.skip("this machine has no IPv6 address but loopback")
        assert " ::1 " in answer
        await peer.opened()


@in_real_time
async def test_a_scope_that_ends_during_the_answer() -> None:
    settings = replace(ON_LOOPBACK, ice_servers=(IceServer("stun:127.0.0.1:9"),), gather_timeout_ms=300)
    async with RtcPeer() as peer:
        await peer.pc.setLocalDescription(await peer.pc.createOffer())
        before = asyncio.all_tasks()
        async with Scope() as scope:
            log = LinkLog(RtcLink(settings, SystemClock(), scope))
            answering = asyncio.get_running_loop().create_task(log.link.answer(peer.pc.localDescription.sdp))
            await asyncio.sleep(0.05)
        with pytest.raises(TransportLost):
            await answering
        assert log.reasons == ["the session is over"]
        assert asyncio.all_tasks() - before == set()


@in_real_time
async def test_a_wrong_certificate_is_found_out() -> None:
    async with Scope() as scope, RtcPeer() as peer:
        log = LinkLog(RtcLink(ON_LOOPBACK, SystemClock(), scope))

        async def answer(offer: str) -> str:
            digest = "sha-256 " + ":".join(["AB"] * 32)
            kept = [line for line in offer.splitlines() if not line.startswith("a=fingerprint")]
            return await log.link.answer("\r\n".join([*kept, f"a=fingerprint:{digest}", ""]))

        await peer.call(answer)
        await peer.wait_until(lambda: log.reasons != [])
        assert log.reasons == ["the peer's certificate is not the one of its SDP"]
        assert log.n_opened == 0


@in_real_time
async def test_a_peer_that_insists_on_beginning() -> None:
    async with Scope() as scope, RtcPeer() as peer:
        log = LinkLog(RtcLink(ON_LOOPBACK, SystemClock(), scope))

        async def answer(offer: str) -> str:
            return await log.link.answer(offer.replace("a=setup:actpass", "a=setup:active"))

        assert "a=setup:passive" in await peer.call(answer)
        await peer.opened()
        peer.microphone.say(tone(440, 2.0))
        await peer.wait_until(lambda: len(log.heard) > EAR_RATE_HZ)
        assert abs(pitch_hz(log.heard[-8000:], EAR_RATE_HZ) - 440) < 5


@in_real_time
async def test_acknowledging_what_was_never_sent_ends_the_call() -> None:
    async with linked() as (peer, log):
        assert peer.pc.sctp is not None
        bomb = SackChunk()
        bomb.cumulative_tsn = bomb.advertised_rwnd = 0
        bomb.gaps, bomb.duplicates = [(1, 65_535)] * 100, []
        await peer.pc.sctp._send_chunk(bomb)
        await peer.wait_until(lambda: log.reasons != [])
        assert log.reasons[0].startswith("the peer broke SCTP")


@in_real_time
async def test_opening_channels_without_end_ends_the_call() -> None:
    async with linked() as (peer, log):
        for n in range(20):
            peer.pc.createDataChannel(str(n))
        await peer.wait_until(lambda: log.reasons != [])
        assert log.reasons == ["the peer opened too many data channels"]
