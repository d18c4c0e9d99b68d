"""Can replicas be named in a file, in the environment and on the command line, and is every mistake told?"""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voicestack.aio.clock import SystemClock
from voicestack.config.keys import GROUPS, in_group, key_of
from voicestack.config.load import MASK, load
from voicestack.core.errors import ConfigError
from voicestack.server.assembly import assemble

FILE = """\
[fleet]
region = "eu-1"

[fleet.llm.east-1]
url = "http://10.0.0.2:8000/v1"
region = "eu-2"
max_requests = 4

[fleet.llm.tiny]
url = "http://10.0.0.3:8000/v1"
small = true

[fleet.tts.east-1]
url = "http://10.0.0.2:8000/v1"
voices = ["nova"]
"""


@pytest.fixture
def toml(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "my.toml"
    path.write_text(FILE)
    return path


def problem(path: Path, *, env: dict[str, str] | None = None, sets: tuple[str, ...] = ()) -> str:
    with pytest.raises(ConfigError) as caught:
        load(str(path), env=env or {}, sets=sets)
    return str(caught.value)


def test_replicas_come_from_everywhere_and_later_values_win(toml: Path) -> None:
    env = {
        "VOICESTACK__FLEET__LLM__EAST_1__API_KEY": "hunter2",
        "VOICESTACK__FLEET__LLM__EAST_1__RTT_MS": "33.5",
        "VOICESTACK__FLEET__ASR__WEST__URL": "https://west/v1",
    }
    sets = ["fleet.llm.east-1.max_requests=9", 'fleet.llm.third={url = "http://c/v1", small = true}']
    loaded = load(str(toml), env=env, sets=sets)
    fleet = loaded.config.fleet
    east = fleet.llm["east-1"]
    assert (east.url, east.region, east.max_requests, east.rtt_ms) == (
        *("http://10.0.0.2:8000/v1", "eu-2", 9, 33.5),
    )
    assert east.api_key.get_secret_value() == "hunter2"
    assert list(fleet.llm) == ["east-1", "tiny", "third"]
    assert [name for name, section in fleet.llm.items() if section.small] == ["tiny", "third"]
    assert fleet.tts["east-1"].voices == ("nova",)
    assert fleet.asr["west"].url == "https://west/v1"
    rows = {key: (value, source) for key, value, source in loaded.rows()}
    assert rows["fleet.llm.east-1.region"] == ("eu-2", "my.toml:6")
    assert rows["fleet.llm.east-1.max_requests"] == (9, "--set")
    assert rows["fleet.llm.east-1.api_key"] == (MASK, "env VOICESTACK__FLEET__LLM__EAST_1__API_KEY")
    assert rows["fleet.llm.tiny.api_key"] == ("", "default")
    assert "hunter2" not in str(loaded.rows())
    assert set(rows) == set(loaded.sources)


@pytest.mark.parametrize(
    ("sets", "expected"),
    [
        ("fleet.llm.east-1.urll=http://x/v1", "--set: unknown key fleet.llm.east-1.urll; did you mean url?"),
        ("fleet.llm.new.rtt_ms=5", "--set: fleet.llm.new.url is needed of every replica, not ''"),
        ("fleet.llm.east-1.rtt_ms=fast", "--set: fleet.llm.east-1.rtt_ms should be a valid number"),
        ("fleet.llm.east-1.url=http://me:pw@x", "--set: fleet.llm.east-1.url should be http(s)://host"),
        ("fleet.llm.local.url=http://x/v1", "fleet.llm cannot have a replica 'local'"),
        ("fleet.llm.East.url=http://x/v1", "fleet.llm.East"),
        ("fleet.llm=3", "--set: fleet.llm should be a table as in TOML"),
        ("fleet.llm.east-1=3", "--set: fleet.llm.east-1 should be a table as in TOML"),
        ("fleet.regions=x", "--set: unknown key fleet.regions; did you mean fleet.region?"),
    ],
)
def test_every_mistake_names_its_place(toml: Path, sets: str, expected: str) -> None:
    said = problem(toml, sets=(sets,))
    assert expected in said
    assert "pw" not in said


def test_a_mistake_in_the_file_names_its_line(toml: Path) -> None:
    toml.write_text(FILE + '\n[fleet.asr.west]\nurl = "http://x/v1"\nlanguage = "English"\n')
    assert problem(toml).startswith("my.toml:19: fleet.asr.west.language string should match pattern")
    toml.write_text(FILE + '\n[fleet.asr.west]\nregion = "a"\n')
    assert problem(toml).startswith("my.toml:18: fleet.asr.west.url is needed of every replica")


def test_an_empty_group_is_no_mistake(toml: Path) -> None:
    toml.write_text("[fleet.llm]\n")
    loaded = load(str(toml), env={}, sets=[])
    assert loaded.config.fleet.llm == {}
    assert loaded.sources["fleet.llm"] == "default"


@given(st.lists(st.sampled_from(["fleet", "llm", "east_1", "url", "x"]), min_size=1, max_size=5))
def test_only_names_in_a_group_get_hyphens(parts: list[str]) -> None:
    path = tuple(parts)
    found = in_group(path)
    assert len(found) == len(path)
    changed = {n for n, (before, after) in enumerate(zip(path, found, strict=True)) if before != after}
    assert changed <= {2}
    assert not changed or path[:2] in GROUPS
    if path[:2] == ("fleet", "llm") and path[3:] == ("url",):
        assert key_of(found) is not None


def test_they_become_replicas_of_pools(toml: Path) -> None:
    sets = ["llm.engine=scripted", "tts.engine=scripted", "asr.engine=scripted", "vad.engine=energy"]
    fleet = assemble(load(str(toml), env={}, sets=sets).config, SystemClock()).fleet
    assert {name: list(pool.roster.members) for name, pool in fleet.pools().items()} == {
        "asr_pool": ["local"],
        "llm_pool": ["local", "east-1"],
        "tts_pool": ["local", "east-1"],
        "llm_small_pool": ["tiny"],
    }
    views = {(view.stage, view.name): view for view in fleet.replicas()}
    assert (views["llm", "local"].region, views["llm", "local"].state) == ("eu-1", "warm")
    assert (views["llm", "east-1"].region, views["llm", "east-1"].state) == ("eu-2", "cold")
    assert fleet.llm.roster.members["east-1"].about.cap == 4
