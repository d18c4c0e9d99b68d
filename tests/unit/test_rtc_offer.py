"""Is an offer understood, whoever makes it, and is the answer what they expect?"""

from pathlib import Path

import pytest
from aiortc.sdp import SessionDescription

from voicestack.core.errors import PeerProtocolError
from voicestack.transports.rtc_answer import Answer, write_answer
from voicestack.transports.rtc_offer import MAX_CANDIDATES, Offer, read_offer
from voicestack.transports.rtc_path import is_usable

OFFERS = Path(__file__).parent.parent / "data" / "offers"
FINGERPRINT = ":".join(["AB"] * 32)


def offer_of(name: str) -> str:
    return (OFFERS / f"{name}.sdp").read_text()


def answered(offer: Offer) -> str:
    answer = Answer(
        session=7,
        version=1,
        ufrag="abcd",
        password="p" * 22,
        candidates=(),
        fingerprint=("sha-256", FINGERPRINT),
        is_client=True,
        ssrc=99,
        cname="agent",
    )
    return write_answer(offer, answer)


@pytest.mark.parametrize("path", sorted(OFFERS.glob("*.sdp")), ids=lambda path: path.stem)
def test_every_section_is_answered_in_order(path: Path) -> None:
    offer = read_offer(path.read_text())
    sdp = answered(offer)
    read = SessionDescription.parse(sdp)
    assert [media.kind for media in read.media] == [section.kind for section in offer.sections]
    assert [media.rtp.muxId for media in read.media] == [section.mid for section in offer.sections]
    used = [at for at, media in enumerate(read.media) if media.port]
    assert used == sorted(at for at in (offer.audio, offer.events) if at is not None)
    assert read.group[0].items == [offer.sections[at].mid for at in used]
    if offer.audio is not None:
        assert [str(codec) for codec in read.media[offer.audio].rtp.codecs] == ["opus/48000/2"]
        assert read.media[offer.audio].fmt == [offer.payload_type]


def test_chromium() -> None:
    offer = read_offer(offer_of("chromium_156_talk"))
    assert (offer.audio, offer.events, offer.payload_type) == (0, 1, 111)
    assert (offer.ufrag, offer.password) == ("Bgvo", "27HGTEcm3eKBckkhZ28BhwpC")
    assert (offer.setup, offer.max_message_bytes, offer.sctp_port) == ("actpass", 262_144, 5000)
    assert len(offer.fingerprints) == 1
    assert len(offer.candidates) == 2
    assert not any(is_usable(candidate.host) for candidate in offer.candidates)  # mDNS names


def test_candidates_come_from_the_bundle_s_own_transport() -> None:
    offer = read_offer(offer_of("aiortc_1_16"))
    assert [(each.host, each.port) for each in offer.candidates] == [("192.0.2.2", 49620), ("fd00::2", 47024)]
    assert all(is_usable(each.host) for each in offer.candidates)


def test_red_is_never_chosen() -> None:
    offer = read_offer(offer_of("chromium_156_red_first"))
    assert offer.payload_type == 111
    assert "red" not in answered(offer)


def test_of_several_audio_sections_the_one_that_talks_is_chosen() -> None:
    offer = read_offer(offer_of("chromium_156_video_first"))
    assert (offer.audio, offer.events) == (2, 3)


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [("sendrecv", "sendrecv"), ("sendonly", "recvonly"), ("recvonly", "sendonly"), ("inactive", "inactive")],
)
def test_directions_are_turned_round(theirs: str, ours: str) -> None:
    sdp = answered(read_offer(offer_of("chromium_156_talk").replace("a=sendrecv", f"a={theirs}")))
    assert f"a={ours}\r\n" in sdp
    assert ("a=ssrc:99" in sdp) == (ours in ("sendrecv", "sendonly"))


def test_without_a_bundle_the_first_section_is_answered() -> None:
    offer = read_offer(offer_of("chromium_156_talk").replace("a=group:BUNDLE 0 1", "a=x"))
    assert (offer.audio, offer.events) == (0, None)
    assert "m=application 0 " in answered(offer)


def test_a_peer_that_says_no_size_takes_64_kib() -> None:
    sdp = offer_of("chromium_156_talk").replace("a=max-message-size:262144\n", "")
    assert read_offer(sdp).max_message_bytes == 65_536


def test_candidates_are_no_more_than_can_be_checked() -> None:
    many = "".join(f"a=candidate:1 1 udp 1 192.0.2.1 {port} typ host\r\n" for port in range(1000, 1400))
    sdp = offer_of("chromium_156_trickle").replace("a=rtcp-mux", many + "a=rtcp-mux", 1)
    assert len(read_offer(sdp).candidates) == MAX_CANDIDATES


@pytest.mark.parametrize(
    ("was", "now"),
    [
        ("v=0", "v=1"),
        ("v=0", ""),
        ("a=ice-ufrag:Bgvo", "a=ice-ufrag:B"),
        ("a=ice-ufrag:Bgvo", "a=ice-ufrag:a:bcd"),
        ("a=ice-ufrag:Bgvo", ""),
        ("a=ice-pwd:27HGTEcm3eKBckkhZ28BhwpC", "a=ice-pwd:short"),
        ("a=setup:actpass", "a=setup:holdconn"),
        ("a=fingerprint:sha-256", "a=fingerprint:sha-1"),
        ("a=fingerprint:sha-256 C6", "a=fingerprint:sha-256 ZZ"),
        ("m=audio 9", "m=audio nine"),
        ("m=", "m=video 0 X 1\nm="),
    ],
)
def test_what_cannot_be_used_is_refused(was: str, now: str) -> None:
    n_times = 40 if was == "m=" else 1
    sdp = offer_of("chromium_156_talk")
    assert was in sdp
    for _ in range(n_times):
        sdp = sdp.replace(was, now)
        if len(sdp) > 60_000:
            break
    with pytest.raises(PeerProtocolError) as caught:
        read_offer(sdp)
    assert caught.value.wire_code == "invalid_offer"
    assert caught.value.param == "sdp"


@pytest.mark.parametrize("sdp", ["", "v=0", "hello", "v=0\r\n" * 20_000, "\0", "v=0\r\nm=\r\n"])
def test_what_is_no_offer_is_refused(sdp: str) -> None:
    with pytest.raises(PeerProtocolError):
        read_offer(sdp)


def test_neither_audio_nor_events() -> None:
    sdp = offer_of("chromium_156_talk").replace("opus/48000", "opus/16000").replace("UDP/DTLS/SCTP", "UDP/X")
    with pytest.raises(PeerProtocolError):
        read_offer(sdp)


@pytest.mark.parametrize(
    ("address", "usable"),
    [
        ("192.0.2.1", True),
        ("2001:db8::1", True),
        ("127.0.0.1", True),
        ("a.local", False),
        ("example.com", False),
        ("224.0.0.1", False),
        ("0.0.0.0", False),
        ("", False),
    ],
)
def test_addresses_and_names(address: str, usable: bool) -> None:
    assert is_usable(address) == usable
