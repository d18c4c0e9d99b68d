"""Encrypted, as a browser and the command line see it."""

import ssl
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
from openai import AsyncOpenAI, DefaultAsyncHttpxClient
from websockets.asyncio.client import connect

from tests.support.server import with_server
from tests.support.visitors import bearer, event_of, keyed, new_key
from voicestack.access.certificate import certificate_of
from voicestack.aio.clock import unix_s
from voicestack.cli.dialing import NoServer, dial
from voicestack.config.access import TlsSection

ON = "tls.self_signed=true"


@pytest.fixture
def cert(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the self-signed certificate will be."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "voicestack" / "tls" / "self-signed.pem"


def test_everything_works_encrypted(tmp_path: Path, cert: Path) -> None:
    key = new_key(tmp_path / "keys.json").secret

    async def script(port: int) -> None:
        trusted = ssl.create_default_context(cafile=str(cert))
        for host in ("localhost", "127.0.0.1"):
            url = f"wss://{host}:{port}/v1/realtime"
            async with connect(url, ssl=trusted, additional_headers=bearer(key), proxy=None) as ws:
                await event_of(ws, "session.created")
                await ws.send('{"type": "response.create"}')
                assert (await event_of(ws, "response.done"))["response"]["status"] == "completed"
        http = DefaultAsyncHttpxClient(verify=trusted, trust_env=False)
        async with AsyncOpenAI(
            api_key=key, base_url=f"https://localhost:{port}/v1", http_client=http
        ) as client:
            assert (await client.realtime.client_secrets.create()).value.startswith("ek_")
        with pytest.raises(NoServer, match=r"not trusted: self-signed certificate\. Try --insecure"):
            await dial(f"wss://localhost:{port}", key=key)
        with pytest.raises(NoServer, match="VOICESTACK_API_KEY"):
            await dial(f"https://localhost:{port}", insecure=True)
        link = await dial(f"wss://127.0.0.1:{port}", key=key, insecure=True)
        assert b"session.created" in str(await link.recv()).encode()
        await link.close()

    with_server(script, sets=keyed(tmp_path / "keys.json", ON))


def test_a_certificate_in_files(tmp_path: Path, cert: Path) -> None:
    env = {"XDG_CACHE_HOME": str(tmp_path)}
    certificate_of(TlsSection(self_signed=True), "127.0.0.1", env, unix_s=unix_s)
    files = [f"tls.cert_file={cert}", f"tls.key_file={cert.with_suffix('.key')}"]

    async def script(port: int) -> None:
        trusted = ssl.create_default_context(cafile=str(cert))
        async with httpx.AsyncClient(verify=trusted, trust_env=False) as client:
            page = await client.get(f"https://localhost:{port}/")
            assert f"wss://localhost:{port}" in page.headers["content-security-policy"]

    with_server(script, sets=keyed(tmp_path / "keys.json", *files))


def test_half_a_certificate_stops_the_start(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "voicestack", "serve", "--config", "scripted"]
    done = subprocess.run(
        [*command, "--tls-cert", str(tmp_path / "cert.pem")], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "tls.key_file is needed: a certificate and its key go together" in done.stderr
    done = subprocess.run(
        [*command, "--tls-cert", "/nowhere.pem", "--tls-key", "/nowhere.key"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (2, "voicestack: tls: /nowhere.pem: No such file or directory\n")
