"""A browser that calls a running server over WebRTC: the real HTTP, a real peer connection."""

import asyncio
import json
from collections.abc import Mapping
from typing import Any

import httpx

from tests.support.rtc_peer import RtcPeer, tone

SDP = {"Content-Type": "application/sdp"}


class Caller(RtcPeer):
    """One browser.

    Args:
        port: Of the server.
        headers: Of its requests.

    Attributes:
        events: What was told, in order.
        call_id: The call's name.
        answer: Of the last request.
    """

    def __init__(self, port: int, headers: Mapping[str, str] | None = None) -> None:
        super().__init__()
        self.http = httpx.AsyncClient(
            base_url=f"http://127.0.0.1:{port}", headers={**(headers or {}), **SDP}, timeout=20
        )
        self.call_id = ""
        self.answer: httpx.Response | None = None

    async def __aenter__(self) -> "Caller":
        return self

    @property
    def events(self) -> list[dict[str, Any]]:
        return [json.loads(message) for message in self.messages]

    @property
    def kinds(self) -> list[str]:
        return [event["type"] for event in self.events]

    async def dial(self, query: str = "") -> None:
        """Call, and wait until the events come."""
        await self.call(lambda offer: self.ask("POST", f"/v1/realtime/calls?{query}", offer, 201))
        assert self.answer is not None
        self.call_id = self.answer.headers["Location"].rpartition("/")[2]
        await self.opened()
        await self.until("session.created")

    async def ask(self, method: str, path: str, offer: str, status: int) -> str:
        self.answer = await self.http.request(method, path, content=offer)
        assert self.answer.status_code == status, self.answer.text
        return self.answer.text

    async def until(self, kind: str, n_th: int = 1) -> dict[str, Any]:
        """The n-th event of that type."""
        await self.wait_until(lambda: self.kinds.count(kind) >= n_th)
        return [event for event in self.events if event["type"] == kind][n_th - 1]

    def tell(self, kind: str, **fields: Any) -> None:
        self.channel.send(json.dumps({"type": kind, **fields}))

    def type(self, text: str) -> None:
        """Type words, and want an answer."""
        item = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": text}]}
        self.tell("conversation.item.create", item=item)
        self.tell("response.create")

    async def speak(self, duration_s: float = 1.0) -> None:
        self.microphone.say(tone(300, duration_s))
        await asyncio.sleep(duration_s)

    async def nobody_talks(self) -> None:
        """Wait until the server has no session."""
        async with asyncio.timeout(10):
            while True:
                if not (await self.http.get("/readyz")).json()["sessions"]:
                    return
                await asyncio.sleep(0.05)

    async def hang_up(self) -> httpx.Response:
        return await self.http.post(f"/v1/realtime/calls/{self.call_id}/hangup")

    async def close(self) -> None:
        await self.http.aclose()
        await super().close()
