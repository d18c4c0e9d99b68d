"""The stages over HTTP, beside calls: limits, clients that hang up, and answers as they are described."""

import asyncio
import importlib.util
import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.machinery import ModuleSpec
from typing import Any

import httpx
import numpy as np
import orjson
import pytest
from websockets.asyncio.client import connect

from tests.support.openapi import KEPT, Described
from tests.support.server import SCRIPTED, with_server
from tests.support.speech import hiss
from voicestack.core.audio import Pcm
from voicestack.core.wav import stream_header
from voicestack.server.readiness import question

DESCRIBED = Described(orjson.loads(KEPT.read_bytes()))
SLOW = (*SCRIPTED, "stages.beside_calls_ratio=0.5", "stages.max_transcriptions=1", "stages.max_speeches=1")
TRANSCRIPTIONS, SPEECH = "/v1/audio/transcriptions", "/v1/audio/speech"


@asynccontextmanager
async def http(port: int) -> AsyncIterator[httpx.AsyncClient]:
    """A client that looks every answer up in the document."""

    async def check(answer: httpx.Response) -> None:
        await answer.aread()
        DESCRIBED.check(answer)

    url, hooks = f"http://127.0.0.1:{port}", {"response": [check]}
    async with httpx.AsyncClient(base_url=url, event_hooks=hooks, timeout=20) as client:
        yield client


def wav(pcm: Pcm, rate_hz: int = 16_000) -> bytes:
    return stream_header(rate_hz) + pcm.tobytes()


def sound(pcm: Pcm, **fields: str) -> dict[str, Any]:
    return {"files": {"file": ("a.wav", wav(pcm))}, "data": {"model": "whisper-1", **fields}}


async def metric(port: int, endpoint: str, outcome: str) -> int:
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:
        text = (await client.get("/metrics")).text
    prefix = f'voicestack_stage_requests_total{{endpoint="{endpoint}",outcome="{outcome}"}} '
    return round(float(next(line for line in text.splitlines() if line.startswith(prefix))[len(prefix) :]))


async def until_counted(port: int, endpoint: str, outcome: str, n_wanted: int) -> None:
    async with asyncio.timeout(10):
        while await metric(port, endpoint, outcome) < n_wanted:  # noqa: ASYNC110 (it is another server's)
            await asyncio.sleep(0.02)


def code_of(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["error"]["code"]


def test_answers_are_as_described() -> None:
    async def script(port: int) -> None:
        async with http(port) as client:
            for path in (
                "/",
                "/healthz",
                "/readyz",
                "/metrics",
                "/openapi.json",
                "/asyncapi.json",
                "/v1/models",
            ):
                assert (await client.get(path)).status_code == 200
            assert (await client.get("/v1/models/scripted-tts")).json()["stage"] == "tts"
            assert (await client.get("/v1/models/a/b")).status_code == 404
            for kind in ("json", "verbose_json", "text", "srt", "vtt"):
                answer = await client.post(TRANSCRIPTIONS, **sound(question(), response_format=kind))
                assert answer.status_code == 200
            for kind in ("pcm", "wav", "flac"):
                for stream in ("audio", "sse"):
                    fields = {"input": "Hi.", "response_format": kind, "stream_format": stream}
                    assert (await client.post(SPEECH, json=fields)).status_code == 200
        assert await metric(port, "speech", "answered") == 6
        assert await metric(port, "transcriptions", "answered") == 5

    with_server(script)


def test_what_is_wrong_with_a_request_is_said() -> None:
    async def script(port: int) -> None:
        async with http(port) as client:
            for body, code in (
                (b"", "invalid_value"),
                (b"[1]", "invalid_value"),
                (b'{"model": "x"}', "missing_required_parameter"),
                (b'{"input": "..."}', "invalid_value"),
                (b'{"input": "a", "speed": 4.5}', "invalid_value"),
                (b'{"input": "a", "response_format": "midi"}', "invalid_value"),
            ):
                assert code_of(await client.post(SPEECH, content=body)) == (400, code)
            assert code_of(await client.post(SPEECH, content=bytes(1_000_000))) == (413, "file_too_large")
            odd = wav(question(), 4_321)
            for how, wanted in (
                ({"content": b"x"}, (415, "unsupported_media_type")),
                ({"data": {"a": "b"}, "files": {"other": b"x"}}, (400, "missing_required_parameter")),
                (
                    {"content": b"x", "headers": {"content-type": "multipart/form-data"}},
                    (400, "invalid_value"),
                ),
                (sound(question(), response_format="xml"), (400, "invalid_value")),
                (sound(question(), response_format="srt", stream="true"), (400, "unsupported_value")),
                ({"files": {"file": ("a.mp3", b"")}}, (400, "invalid_audio")),
                ({"files": {"file": ("a.m3u8", PLAYLIST)}}, (400, "invalid_audio")),
                ({"files": {"file": ("a.wav", odd[:60])}}, (400, "invalid_audio")),
                (sound(np.zeros(16_000 * 61, np.int16)), (413, "audio_too_long")),
                (sound(np.zeros(1_200_000, np.int16)), (413, "file_too_large")),
            ):
                assert code_of(await client.post(TRANSCRIPTIONS, **how)) == wanted, how
            assert (await client.post(TRANSCRIPTIONS, **sound(question()))).status_code == 200

    with_server(script, sets=[*SCRIPTED, "stages.max_audio_s=60", "stages.max_upload_bytes=2_000_000"])


PLAYLIST = b"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nfile:///etc/hostname\n#EXT-X-ENDLIST\n"


def test_files_of_odd_rates_are_read_by_the_codecs() -> None:
    async def script(port: int) -> None:
        async with http(port) as client:
            pcm = hiss(3000, -20)
            answer = await client.post(
                TRANSCRIPTIONS,
                files={"file": ("a.wav", wav(pcm, 15_999))},
                data={"response_format": "verbose_json"},
            )
            assert answer.json()["duration"] == pytest.approx(len(pcm) / 15_999, abs=0.01)

    with_server(script)


find_spec = importlib.util.find_spec


def without_av(name: str, package: str | None = None) -> ModuleSpec | None:
    """As if PyAV were not installed."""
    return None if name == "av" else find_spec(name, package)


def test_without_codecs_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", without_av)

    async def script(port: int) -> None:
        async with http(port) as client:
            said = await client.post(SPEECH, json={"input": "a"})
            assert code_of(said) == (400, "unsupported_value")
            heard = await client.post(TRANSCRIPTIONS, files={"file": ("a.mp3", b"ID3\x04")})
            assert code_of(heard) == (415, "unsupported_media_type")
            for answer in (said, heard):
                assert "voicestack[codecs]" in answer.json()["error"]["message"]

    with_server(script)


def test_beside_calls_work_is_slow_and_refused_early() -> None:
    async def script(port: int) -> None:
        url = f"ws://127.0.0.1:{port}/v1/realtime"
        async with http(port) as client, http(port) as other:
            await client.post(TRANSCRIPTIONS, **sound(question()))
            async with connect(url) as call, asyncio.TaskGroup() as group:
                assert json.loads(await call.recv())["type"] == "session.created"
                loop = asyncio.get_running_loop()
                start_s = loop.time()
                slow = group.create_task(client.post(TRANSCRIPTIONS, **sound(question())))
                await asyncio.sleep(0.3)
                refused = await other.post(TRANSCRIPTIONS, **sound(np.zeros(4_000_000, np.int16)))
                assert code_of(refused) == (503, "overloaded")
                assert refused.headers["retry-after"] == "1"
                assert (await slow).status_code == 200
                assert (
                    loop.time() - start_s > 1.613 / 0.5 - 0.6
                )  # at half the speed of speech, less the burst
        assert await metric(port, "transcriptions", "refused") == 1

    with_server(script, sets=SLOW)


@pytest.mark.parametrize("kind", ["pcm", "flac"])
def test_a_listener_that_hangs_up_stops_the_voice(kind: str) -> None:
    async def script(port: int) -> None:
        fields = {"input": "This goes on and on, and on. " * 140, "response_format": kind}
        url = f"http://127.0.0.1:{port}"
        async with (
            httpx.AsyncClient(base_url=url) as client,
            client.stream("POST", SPEECH, json=fields) as answer,
        ):
            async for _ in answer.aiter_raw():
                break
        await until_counted(port, "speech", "abandoned", 1)
        async with http(port) as client:  # its place is free again
            assert (
                await client.post(SPEECH, json={"input": "Hi.", "response_format": "pcm"})
            ).status_code == 200

    with_server(script, sets=SLOW)


@pytest.mark.parametrize("stream", ["false", "true"])
def test_a_client_that_hangs_up_stops_the_recogniser(stream: str) -> None:
    async def script(port: int) -> None:
        async with connect(f"ws://127.0.0.1:{port}/v1/realtime") as call:
            await call.recv()
            url = f"http://127.0.0.1:{port}"
            async with httpx.AsyncClient(base_url=url, timeout=0.5) as client:
                with pytest.raises(httpx.ReadTimeout):
                    await client.post(TRANSCRIPTIONS, **sound(hiss(60_000, -20), stream=stream))
            await until_counted(port, "transcriptions", "abandoned", 1)
        async with http(port) as client:
            assert (await client.post(TRANSCRIPTIONS, **sound(question()))).status_code == 200

    with_server(script, sets=SLOW)


def test_a_server_that_stops_does_not_wait_for_a_client_that_does_not_read() -> None:
    body = json.dumps({"input": "This goes on and on. " * 190, "response_format": "pcm"}).encode()
    head = f"POST {SPEECH} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n".encode()

    with socket.socket() as client:  # it stays open until the server is gone
        client.setblocking(False)

        async def script(port: int) -> None:
            loop = asyncio.get_running_loop()
            await loop.sock_connect(client, ("127.0.0.1", port))
            await loop.sock_sendall(client, head + body)
            assert (await loop.sock_recv(client, 12)) == b"HTTP/1.1 200"

        with_server(script, sets=[*SCRIPTED, "server.shutdown_grace_s=1"], timeout_s=20)
