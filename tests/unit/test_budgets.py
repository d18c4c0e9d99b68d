"""Whose turns may take what, and who said so: `budgets.toml`."""

from pathlib import Path

import pytest

from voicestack.config.budgets import Budgets
from voicestack.config.derived import budget_of
from voicestack.config.load import Loaded, budgets_of, load
from voicestack.core.errors import ConfigError
from voicestack.core.rungs import Rung


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def loaded(folder: Path, budgets: str, config: str = "", *sets: str) -> Loaded:
    (folder / "b.toml").write_text(budgets)
    (folder / "c.toml").write_text('profile = "mine"\n' + config)
    return load("c.toml", env={}, sets=["budget.file=b.toml", *sets])


def budgets(folder: Path, text: str, config: str = "", *sets: str) -> Budgets:
    return budgets_of(loaded(folder, text, config, *sets).config)


LAYERS = """
[all]
say_by_ms = 1_000
[mine]
profile = "mine"
say_by_ms = 1_100
llm_ms = 90
[theirs]
profile = "theirs"
say_by_ms = 1
[calls]
route = "webrtc"
say_by_ms = 1_200
turn_ms = 900
[my-calls]
route = "webrtc"
profile = "mine"
say_by_ms = 1_250
[acme]
tenant = "acme"
say_by_ms = 1_300
rungs = ["hedge"]
[acme-calls]
tenant = "acme"
route = "webrtc"
say_by_ms = 1_400
"""


def test_the_most_specific_entry_that_says_something_wins(folder: Path) -> None:
    made = budgets(folder, LAYERS)
    say_by_ms = {
        (tenant, route): made.of(tenant, route).say_by_ms
        for tenant in ("acme", "other")
        for route in ("webrtc", "websocket")
    }
    assert say_by_ms == {
        ("acme", "webrtc"): 1_400,
        ("acme", "websocket"): 1_300,
        ("other", "webrtc"): 1_250,
        ("other", "websocket"): 1_100,
    }
    assert made.of("acme", "webrtc").turn_ms == 900
    assert made.of("acme", "websocket").turn_ms == 800
    assert made.of("acme", "webrtc").rungs == {Rung.HEDGE}
    assert made.of("other", "webrtc").rungs == set(Rung) - {Rung.FULL}
    assert made.of("other", "websocket").shares_ms["llm"] == 90


def test_the_profiles_file_and_the_command_line_are_above_its_entries_and_below_those_of_tenants(
    folder: Path,
) -> None:
    made = budgets(folder, LAYERS, "[budget]\nsay_by_ms = 1_111\n", "budget.llm_ms=80")
    assert made.of("other", "websocket").say_by_ms == 1_111
    assert made.of("other", "websocket").shares_ms["llm"] == 80
    assert made.of("other", "webrtc").say_by_ms == 1_250


def test_whoever_no_entry_is_about_has_the_budget_of_the_configuration(folder: Path) -> None:
    it = loaded(folder, '[acme]\ntenant = "acme"\nenforce = false\n')
    assert budgets_of(it.config).of("other", "websocket") == budget_of(it.config)
    assert not budgets_of(it.config).of("acme", "websocket").allows(Rung.FILLER)


def test_every_value_has_its_source(folder: Path) -> None:
    it = loaded(folder, LAYERS, "", "budget.asr_ms=40")
    assert it.sources["budget.llm_ms"] == "b.toml:7"
    assert it.sources["budget.asr_ms"] == "--set"
    assert it.sources["budget.turn_ms"] == "default"
    assert ("budgets.calls.turn_ms", 900, "b.toml:14") in it.rows()
    assert ("budgets.calls.route", "webrtc", "") in it.rows()
    assert not any(key.startswith("budgets.mine.") for key, _, _ in it.rows())


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[a]\nturnms = 3", "b.toml:2: unknown key a.turnms; did you mean turn_ms?"),
        ("[a]\nfile = 'x'", "b.toml:2: unknown key a.file"),
        ("turn_ms = 3", "b.toml:1: turn_ms is in no table: give it one, [a-name]"),
        ("[a]", "b.toml:1: a says nothing"),
        ("[a]\ntenant = 3", "b.toml:2: a.tenant should be a name, not 3"),
        ("[a]\nllm_ms = 'x'", "b.toml:2: a.llm_ms should be a valid integer, not 'x'"),
        ("[a]\nllm_ms = 1.5", "b.toml:2: a.llm_ms should be a valid integer, not 1.5"),
        (
            "[a]\n\nhysteresis_ratio = 2",
            "b.toml:3: a.hysteresis_ratio should be less than or equal to 1, not 2",
        ),
        ("[a]\nprofile = 'theirs'\nturn_ms = -1", "b.toml:3: a.turn_ms should be greater than or equal"),
        ("[a]\nrungs = ['jump']", "b.toml:2: a.rungs should be 'draft', 'short_clause'"),
        ("[a]\nturn_ms = { x = 1 }", "b.toml:2: unknown key a.turn_ms.x"),
        ("[a]\nturn_ms = 900\n[b]\nturn_ms = 950", "b.toml:4: b is about the same turns as a: make one"),
        ("[a]\ntenant = 'x'\nturn_ms = 300", "b.toml:3: turn_ms should not be less than its stages together"),
        ("[a]\nturn_ms = 300", "b.toml:2: budget.turn_ms should not be less than its stages together"),
        ("[a]\nroute = 'webrtc'\nllm_ms = 200", "b.toml:3: turn_ms should not be less than its stages"),
        ("[a\n", "b.toml:1: Expected ']'"),
    ],
)
def test_mistakes_name_file_line_and_key(folder: Path, text: str, expected: str) -> None:
    with pytest.raises(ConfigError) as caught:
        loaded(folder, text)
    assert str(caught.value).startswith(expected)


def test_entries_that_do_not_go_together_are_found_before_anybody_calls(folder: Path) -> None:
    """Each by itself would do."""
    text = "[a]\ntenant = 'a'\nturn_ms = 850\n[b]\nroute = 'webrtc'\nturn_ms = 1_000\nllm_ms = 250\n"
    with pytest.raises(ConfigError) as caught:
        loaded(folder, text)
    assert str(caught.value) == (
        "b.toml:3: turn_ms should not be less than its stages together (950), not 850"
    )


def test_a_file_that_is_not_there(folder: Path) -> None:
    (folder / "c.toml").write_text('[budget]\nfile = "nowhere.toml"\n')
    with pytest.raises(ConfigError, match=r"^nowhere\.toml: no such file or directory$"):
        load("c.toml", env={}, sets=[])


@pytest.mark.parametrize("profile", ["embedded", "cpu", "gpu", "scripted"])
def test_the_budgets_that_come_with_voicestack_are_in_force(profile: str) -> None:
    it = load(profile, env={}, sets=[])
    stages_ms = sum(budget_of(it.config).shares_ms.values())
    assert stages_ms <= it.config.budget.turn_ms
    if profile in ("cpu", "gpu"):
        assert "budgets.toml" in it.sources["budget.llm_ms"]
