"""Does the browser under test hear and say what the tests think it does?"""

from collections.abc import Callable

import pytest
from playwright.sync_api import BrowserContext

from tests.support.browser import HEARD_RATE_HZ, Microphone, Visit, visit
from tests.support.matching import distances
from tests.support.served import Served
from tests.support.speech import SPEECH, read_wav, wav_bytes
from voicestack.core.audio import EAR_RATE_HZ, Pcm

RECORDINGS = ("01_slt", "02_slt", "08_slt", "12_slt")


def recording(name: str) -> Pcm:
    return read_wav(SPEECH / f"{name}.wav")


LOOP_BACK = """async () => {
  const stream = await navigator.mediaDevices.getUserMedia({ audio: true });
  window.audio = new AudioContext();
  const source = audio.createMediaStreamSource(stream);
  source.connect(audio.destination);
}"""


def test_what_the_microphone_says_is_what_the_ear_hears(
    server: Served, context: BrowserContext, microphone: Microphone
) -> None:
    microphone.says((1000, "01_slt"))
    with visit(context, f"{server.url}/healthz") as seen:
        seen.expected = ["favicon"]
        seen.page.evaluate(LOOP_BACK)
        began_ms = seen.now_ms()
        seen.until_loud(800)
        seen.until_silent()
        pcm = seen.played()
        assert 800 < seen.page.evaluate("__ear.loudMs()") < 1800
        assert "capital of france" in server.transcribe(wav_bytes(pcm, HEARD_RATE_HZ))
        found = distances(pcm, HEARD_RATE_HZ, {name: (recording(name), EAR_RATE_HZ) for name in RECORDINGS})
        assert min(found, key=lambda name: found[name]) == "01_slt", found
        assert found.pop("01_slt") < 0.6 * min(found.values()), found
        (heard,) = seen.heard()
        assert heard.kind == "context"
        assert abs(heard.start_ms - began_ms) < 3000
        assert len(seen.played(seen.now_ms())) < HEARD_RATE_HZ / 2, "nothing was played after now"


def break_a_script(seen: Visit) -> None:
    seen.page.evaluate("setTimeout(() => { throw new Error('no such thing') })")
    seen.page.evaluate("new Promise(resolve => setTimeout(resolve, 10))")


def break_the_policy(seen: Visit) -> None:
    seen.page.evaluate("document.body.insertAdjacentHTML('beforeend', '<p style=\"color: red\">')")
    seen.until("__ear.violations.length > 0")


@pytest.mark.parametrize(
    ("harm", "words"), [(break_a_script, "no such thing"), (break_the_policy, "style-src")]
)
def test_what_goes_wrong_on_a_page_is_noticed(
    server: Served, context: BrowserContext, harm: Callable[[Visit], None], words: str
) -> None:
    def harmed() -> None:
        with visit(context, server.url) as seen:
            harm(seen)

    with pytest.raises(AssertionError, match=words):
        harmed()
