"""Is the configuration what was asked for, and does every mistake name its place?"""

import tomllib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from voicestack.config.derived import policy_of, settings_of
from voicestack.config.keys import KEYS
from voicestack.config.lines import KeyPath, key_lines, leaves
from voicestack.config.load import load, profiles
from voicestack.config.schema import Config
from voicestack.core.errors import ConfigError
from voicestack.core.settings import ServerVad
from voicestack.turn.policy import Policy


@pytest.fixture
def toml(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path / "my.toml"


def problems(path: Path, env: dict[str, str] | None = None, sets: list[str] | None = None) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load(str(path), env=env or {}, sets=sets or [])
    return str(caught.value).split("\n")


def test_later_sources_win_and_are_named(toml: Path) -> None:
    toml.write_text("[llm]\nslots = 1\nmax_tokens = 11\ntemperature = 1\n")
    env = {"VOICESTACK__LLM__MAX_TOKENS": "22", "VOICESTACK__LLM__TEMPERATURE": "0.5", "PATH": "/bin"}
    loaded = load(str(toml), env=env, sets=["llm.temperature=0.75"])
    llm = loaded.config.llm
    assert (llm.slots, llm.max_tokens, llm.temperature, llm.top_p) == (1, 22, 0.75, 0.9)
    sources = {key: loaded.sources[f"llm.{key}"] for key in ("slots", "max_tokens", "temperature", "top_p")}
    assert sources == {
        "slots": "my.toml:2",
        "max_tokens": "env VOICESTACK__LLM__MAX_TOKENS",
        "temperature": "--set",
        "top_p": "default",
    }


def test_every_key_has_a_source_and_a_row() -> None:
    loaded = load(None, env={}, sets=[])
    assert [row[0] for row in loaded.rows()] == list(loaded.sources) == [".".join(path) for path in KEYS]
    assert loaded.config.profile == "embedded"


def test_text_becomes_what_the_key_is(toml: Path) -> None:
    toml.write_text("")
    sets = ["turn.draft_replies=off", "llm.model=123", 'llm.answers=["one, two", "three"]', "profile=x=y"]
    config = load(str(toml), env={}, sets=sets).config
    assert config.turn.draft_replies is False
    assert config.llm.model == "123"
    assert config.llm.answers == ("one, two", "three")
    assert config.profile == "x=y"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[llm]\n\nslotz = 4", "my.toml:3: unknown key llm.slotz; did you mean llm.slots?"),
        (
            "[server]\nsilence_duration_ms = 4",
            "my.toml:2: unknown key server.silence_duration_ms; did you mean turn.silence_duration_ms?",
        ),
        ("[[llm]]\nslots = 4", "my.toml:1: llm is a section, not a value"),
        ("llm.slots.x = 4", "my.toml:1: unknown key llm.slots.x; did you mean llm.slots?"),
        ("[serve]", "my.toml:1: unknown key serve"),
        ("# comment\nserver = 8080", "my.toml:2: server is a section, not a value"),
        ("[server]\nport = 99999", "my.toml:2: server.port should be less than or equal to 65535, not 99999"),
        ('[server]\nport = "80"', "my.toml:2: server.port should be a valid integer, not '80'"),
        ("[server]\nport = true", "my.toml:2: server.port should be a valid integer, not True"),
        (
            "[turn]\nthreshold = nan",
            "my.toml:2: turn.threshold should be a finite number, not nan",
        ),
        ("[turn]\nsilence_duration_ms = -1", "my.toml:2: turn.silence_duration_ms should be greater than or"),
        ('[vad]\nengine="x"', "my.toml:2: vad.engine should be 'silero' or 'energy', not 'x'"),
        ('[asr]\ntexts=["a",\n\n3]', "my.toml:2: asr.texts.1 should be a valid string, not 3"),
        ("[asr]\nworkers_max = 0", "my.toml:2: asr.workers_max should be greater than or equal to 1, not 0"),
        (
            "[asr]\nworkers_min = 9",
            "my.toml:2: asr.workers_max should not be less than asr.workers_min, not 4",
        ),
        ("[llm]\nimages = true", "my.toml:2: llm.images needs llm.engine 'openai' and llm.tools other than"),
        ('[llm]\n\nengine = "openai"', "my.toml:3: llm.url is needed when llm.engine is 'openai', not ''"),
        ('[llm]\nurl = "localhost:1"', "my.toml:2: llm.url should be http(s)://host:port/path with no user"),
        (
            "[budget]\nllm_ms = 700",
            "my.toml:2: budget.turn_ms should not be less than its stages together (1400)",
        ),
        ("[llm]\nslots = \n", "my.toml:2: Invalid value"),
        ("[llm]\n[llm]\n", "my.toml:2: Cannot declare ('llm',) twice"),
        ("a = '''\n\n", "my.toml:1: "),
    ],
)
def test_mistakes_name_file_line_and_key(toml: Path, text: str, expected: str) -> None:
    toml.write_text(text)
    assert problems(toml)[0].startswith(expected)


def test_all_mistakes_are_named_at_once(toml: Path) -> None:
    toml.write_text('[llm]\nslots = "four"\ntemprature = 1\n')
    found = problems(
        toml, env={"VOICESTACK__LLM__TOP_P": "high", "VOICESTACK__NO": ""}, sets=["tts.rate_wpm=1"]
    )
    assert sorted(line.split(" ")[0] for line in found) == [
        "--set:",
        "env",
        "env",
        "my.toml:2:",
        "my.toml:3:",
    ]


def test_a_set_without_a_value_is_refused(toml: Path) -> None:
    toml.write_text("")
    assert problems(toml, sets=["llm.slots"]) == ["--set llm.slots: write --set section.key=value"]


def test_files_that_cannot_be_read(toml: Path) -> None:
    assert problems(toml) == ["my.toml: no such file or directory"]
    assert problems(toml.parent / "x.toml" / "y.toml")[0].endswith("no such file or directory")
    toml.write_bytes(b"[llm]\nmodel = '\xff'\n")
    assert problems(toml) == ["my.toml:2: not UTF-8"]
    toml.unlink()
    toml.mkdir()
    assert problems(toml) == ["my.toml: is a directory"]


def test_an_unknown_profile_is_answered_with_the_known_ones() -> None:
    with pytest.raises(
        ConfigError, match=r"no profile 'embeded'; did you mean embedded\? \(profiles: .*scripted"
    ):
        load("embeded", env={}, sets=[])


def test_the_password_of_a_database_is_not_shown(toml: Path) -> None:
    toml.write_text('[ledger]\nstore = "postgresql://me:7123@host:5432/db"\n')
    loaded = load(str(toml), env={}, sets=[])
    assert loaded.config.ledger.store == "postgresql://me:7123@host:5432/db"
    shown = {key: value for key, value, _ in loaded.rows()}
    assert shown["ledger.store"] == "postgresql://me:***@host:5432/db"


def test_secrets_are_never_shown(toml: Path) -> None:
    toml.write_text('[llm]\napi_key = "sk-123"\n')
    loaded = load(str(toml), env={}, sets=[])
    assert loaded.config.llm.api_key.get_secret_value() == "sk-123"
    assert {key: value for key, value, _ in loaded.rows()}["llm.api_key"] == "***"
    assert "sk-123" not in repr(loaded)
    for text in (
        "[llm]\napi_key = 7123\n",
        '[llm]\nurl = "http://me:7123@host/"\n',
        '[llm]\napi_key = "7123\n',
    ):
        toml.write_text(text)
        assert "7123" not in " ".join(problems(toml))


def test_the_tree_is_frozen() -> None:
    config = load(None, env={}, sets=[]).config
    with pytest.raises(ValueError, match="frozen"):
        config.llm.slots = 9


@pytest.mark.parametrize("name", profiles())
def test_profiles_load_and_are_called_by_their_name(name: str) -> None:
    assert load(name, env={}, sets=[]).config.profile == name


def test_the_default_profile_says_what_the_schema_says() -> None:
    assert {"embedded", "scripted"} <= set(profiles())
    embedded = load("embedded", env={}, sets=[]).config
    assert embedded.model_copy(update={"profile": "custom"}) == Config()


def test_defaults_are_legal() -> None:
    assert Config.model_validate(Config().model_dump()) == Config()


def test_defaults_mean_what_the_layers_below_take_for_granted() -> None:
    assert policy_of(Config()) == Policy()
    assert settings_of(Config()).turn_detection == ServerVad()
    changed = load(None, env={}, sets=["turn.create_response=false", "turn.words_deadline_ms=250"]).config
    assert policy_of(changed) == Policy(create_reply=False, words_deadline_ns=250_000_000)


def test_lines_of_keys() -> None:
    text = """\
# a comment
top = 1

[a]            # one table
"b c" = '''
[not.a.table]
x = 1
'''
d.e = 2
list = [
  1,  # one

  2,
]
i = { j = 1, k = { l = 2 } }

[[many]]
m = 1
["q".r]
s = "# no comment"
"""
    assert key_lines(text) == {
        ("top",): 2,
        ("a",): 4,
        ("a", "b c"): 5,
        ("a", "d"): 9,
        ("a", "d", "e"): 9,
        ("a", "list"): 10,
        ("a", "i"): 15,
        ("a", "i", "j"): 15,
        ("a", "i", "k"): 15,
        ("a", "i", "k", "l"): 15,
        ("many",): 17,
        ("many", "m"): 18,
        ("q", "r"): 19,
        ("q", "r", "s"): 20,
    }


NAMES = st.sampled_from(["a", "b-c", '"d e"', "'#'", '"["'])
VALUES = st.sampled_from(["1", "'x'", '"""\n[a]\nb = 1\n"""', "[\n 1,\n # ]\n 2]", "{ x = 1 }", "'''\n\n'''"])
BLOCKS = st.lists(
    st.one_of(
        st.sampled_from(["", "# x = 1", "  "]),
        st.tuples(NAMES, VALUES).map(" = ".join),
        NAMES.map(lambda name: f"[t.{name}] # c"),
    ),
    max_size=8,
)


@settings(max_examples=200, deadline=None)
@given(BLOCKS)
def test_each_key_is_found_on_the_line_that_defines_it(blocks: list[str]) -> None:
    text = "\n".join(blocks)
    try:
        tree = tomllib.loads(text)
    except tomllib.TOMLDecodeError:  # the same key twice
        return
    found = key_lines(text)
    paths: set[KeyPath] = {path for path, _ in leaves(tree)}
    assert paths <= found.keys()
    lines = text.split("\n")
    for path, line in found.items():
        assert any(name in lines[line - 1] for name in path)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "udp_port_min = 40000",
            "my.toml:2: webrtc.udp_port_max is needed: both ends of the range",
        ),
        (
            "udp_port_min = 9\nudp_port_max = 8",
            "my.toml:3: webrtc.udp_port_max should not be less than webrtc.udp_port_min, not 8",
        ),
        (
            'turn_urls = ["turn:t.example:3478"]',
            "my.toml:2: webrtc.turn_secret is needed when there are webrtc.turn_urls",
        ),
        ('stun_urls = ["s.example"]', "should be stun:host or stun:host:port"),
        ('turn_urls = ["turn:u:p@t.example"]', "should be turn:host:port"),
        ('public_address = "example.com"', "my.toml:2: webrtc.public_address should be an IP address"),
        ('host = "localhost"', "my.toml:2: webrtc.host should be an IP address"),
        ("lead_ms = 5", "my.toml:2: webrtc.lead_ms should be greater than or equal to 20"),
        ("graze_ms = 5", "my.toml:2: unknown key webrtc.graze_ms; did you mean webrtc.grace_ms?"),
    ],
)
def test_mistakes_about_webrtc(toml: Path, text: str, expected: str) -> None:
    toml.write_text(f"[webrtc]\n{text}\n")
    (problem,) = problems(toml)
    assert expected in problem


def test_webrtc_behind_a_firewall(toml: Path) -> None:
    toml.write_text(
        '[webrtc]\nudp_port_min = 40000\nudp_port_max = 40100\npublic_address = "203.0.113.7"\n'
        'stun_urls = ["stun:s.example:3478"]\nturn_urls = ["turns:t.example:443?transport=tcp"]\n'
    )
    loaded = load(str(toml), env={"VOICESTACK__WEBRTC__TURN_SECRET": "hush"}, sets=[])
    assert loaded.config.webrtc.turn_secret.get_secret_value() == "hush"
    assert {key: value for key, value, _ in loaded.rows()}["webrtc.turn_secret"] == "***"


def test_tables_are_values(tmp_path: Path) -> None:
    path = tmp_path / "some.toml"
    path.write_text('[vllm.environment]\nA = "1"\n[vllm]\nmodel = "m"\nloras = { de = "/de" }\n')
    loaded = load(str(path), env={}, sets=['vllm.environment={B="2"}'])
    assert loaded.config.vllm.environment == {"B": "2"}, "later wins, as a whole"
    assert loaded.config.vllm.loras == {"de": "/de"}
    assert loaded.sources["vllm.loras"].endswith(":5")
    path.write_text('[vllm]\nmodel = "m"\nloras = { de = 3 }\n')
    with pytest.raises(ConfigError, match=r"some\.toml:3: vllm\.loras\.de should be a valid string"):
        load(str(path), env={}, sets=[])
