"""How does a run look as Markdown, ready for `tests/bench/RESULTS.md`?

Pure: from the document that `Record` keeps, so that a run which was stopped has its tables as well. A
figure that was not measured is a dash; a percentile among missing answers is `> all`.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

Document = Mapping[str, Any]
TARGET_TURNS, TARGET_P50_MS, TARGET_P99_MS = 16, 25.0, 80.0
TARGET_SESSIONS = 256
"""Of one H200 with 8B in bf16 or FP8 and a cached prefix of 1000 tokens; sessions at 15 % duty."""
_DASH = "-"


def markdown(document: Document) -> str:
    """All tables of a run, with what it ran on above and what it could not measure below."""
    sections = [
        _head(document),
        _levels(document.get("ttft", ())),
        _speculation(document.get("speculation", ())),
        _cold(document.get("cold", ())),
        _heartbeat(document.get("heartbeat", ())),
        _sleep(document.get("sleep", ())),
        _whisper(document.get("whisper", ())),
        _sessions(document),
        _targets(document),
        _missing(document),
    ]
    return "\n\n".join(section for section in sections if section) + "\n"


def _head(document: Document) -> str:
    host, run = document["host"], document["run"]
    gpu = host["gpu"]
    where = f"{gpu['name']}, driver {gpu['driver']}" if gpu else f"{host['n_cpus']} cores of {host['cpu']}"
    weights = f"**random weights** in the shape of {run['shape']}" if run["random_weights"] else run["shape"]
    took = f", {document['took_s']:.0f} s" if "took_s" in document else ", **stopped before its end**"
    return (
        f"{document['date']}, {where}, load average {run['load_average']:.1f} before it, "
        f"vLLM {host['vllm']}, Python {host['python']}{took}. Model: {weights}; "
        f"system prompt of {run['prefix_tokens']} tokens in the cache, "
        f"answers of {run['reply_tokens']}.\n\n    {run['command']}"
    )


def _levels(entries: Sequence[Document]) -> str:
    if not entries:
        return ""
    names = [*("server", "loop", "turns", "client", "n", "first text p50 / p95 / p99, ms")]
    names += ["first clause p50 / p95 / p99, ms", "between pieces p50 / p95 / p99, ms"]
    names += ["tokens/s", "prompt cached", "client busy", "late, full, missing"]
    rows = []
    for entry in sorted(entries, key=_by_level):
        figures = entry["figures"]
        rows.append(
            [
                entry["server"],
                entry["loop"],
                _turns(entry),
                entry["client"],
                str(figures["n"]),
                *(_three(figures[name]) for name in ("ttft_ms", "clause_ms", "itl_ms")),
                f"{figures['tokens_per_s']:.0f}",
                _share(figures["cached_share"]),
                _share(entry["client_busy_ratio"]),
                _bad(figures),
            ]
        )
    return table(names, rows)


def _by_level(entry: Document) -> tuple[Any, ...]:
    return entry["dtype"], entry["turns"], entry["loop"], entry["client"]


def _turns(entry: Document) -> str:
    """In an open loop there are as many as come; their mean is shown."""
    if entry["loop"] == "closed":
        return str(entry["turns"])
    return f"{entry['figures']['mean_in_flight']:.1f} (mean)"


def _speculation(entries: Sequence[Document]) -> str:
    if not entries:
        return ""
    names = [
        "speculation",
        "turns",
        "n",
        "first text p50 / p95 / p99, ms",
        "first clause p50 / p95 / p99, ms",
    ]
    names += ["per token p50 / p95 / p99, ms", "tokens/s", "accepted", "tokens a step", "late, full, missing"]
    rows = []
    for entry in sorted(entries, key=lambda entry: entry["turns"]):
        figures = entry["figures"]
        rows.append(
            [
                entry["method"],
                str(entry["turns"]),
                str(figures["n"]),
                *(_three(figures[name]) for name in ("ttft_ms", "clause_ms", "tpot_ms")),
                f"{figures['tokens_per_s']:.0f}",
                _share(entry["acceptance"]),
                number(entry["accepted_length"], 2),
                _bad(figures),
            ]
        )
    return table(names, rows)


def _cold(entries: Sequence[Document]) -> str:
    if not entries:
        return ""
    phases = list(dict.fromkeys(phase["name"] for entry in entries for phase in entry["phases"]))
    rows = []
    for entry in entries:
        took = {phase["name"]: phase["took_ms"] / 1e3 for phase in entry["phases"]}
        firsts = ", ".join(number(trace["first_ms"], 0) for trace in entry["first_requests"])
        cells = [number(took.get(name), 1) for name in phases]
        rows.append([entry["server"], number(_seconds(entry["ready_ms"]), 1), *cells, firsts])
    return table(["start, s", "all", *phases, "then first texts, ms"], rows)


def _heartbeat(entries: Sequence[Document]) -> str:
    rows = []
    for entry in entries:
        rounds = entry["first_ms"]
        columns = [" ".join(number(asked[k], 1) for asked in rounds) for k in range(len(rounds[0]))]
        beat = f"every {entry['beat_s']:.0f} s" if entry["beat_s"] else "none"
        rows.append([entry["server"], f"{entry['silence_s']:.0f} s", beat, *columns])
    names = [
        "server",
        "silence",
        "heartbeat",
        "first text of the first request, ms",
        "of the second",
        "of the third",
    ]
    return table(names, rows) if rows else ""


def _sleep(entries: Sequence[Document]) -> str:
    rows = [
        [
            entry["server"],
            number(entry["sleep_ms"], 0),
            number(entry["wake_ms"], 0),
            ", ".join(number(first_ms, 1) for first_ms in entry["first_ms"]),
        ]
        for entry in entries
    ]
    return (
        table(["server", "to sleep (level 1), ms", "to wake, ms", "then first texts, ms"], rows)
        if rows
        else ""
    )


def _whisper(entries: Sequence[Document]) -> str:
    rows = [
        [
            f"{entry['shape']} on {entry['device']}",
            str(entry["batch"]),
            f"{entry['window_s']:.0f} s, {entry['tokens_per_window']:.0f} tokens",
            _three(entry["batch_ms"]),
            f"{entry['windows_per_s']:.1f}",
        ]
        for entry in entries
    ]
    names = [
        "Whisper with random weights",
        "windows at once",
        "window",
        "batch p50 / p95 / p99, ms",
        "windows/s",
    ]
    return table(names, rows) if rows else ""


def _sessions(document: Document) -> str:
    entries = document.get("sessions", ())
    if not entries:
        return ""
    engines = entries[0]["engines"]
    rows = []
    for entry in entries:
        stages = entry["stages_ms"]
        rows.append(
            [
                str(entry["n_sessions"]),
                f"{entry['turns_per_s']:.1f}",
                str(entry["n"]),
                _three(entry["voice_ms"]),
                *(number((stages[name] or {}).get("p95"), 0) for name in ("asr", "llm", "tts")),
                str(entry["n_missing"]),
                number((entry["late_ms"] or {}).get("p95"), 1),
                "yes" if entry["passes"] else "no",
            ]
        )
    names = ["sessions", "turns/s", "n", "endpoint to voice p50 / p95 / p99, ms"]
    names += ["transcript p95", "first clause p95", "voice p95", "missing", "harness late p95", "p95 <= 300"]
    what = "GPU" if document["host"]["gpu"] else "CPU"
    said = (
        f"Recogniser {engines['asr']}, voice {engines['tts']}, no drafts; every caller speaks "
        f"{entries[0]['duty']:.0%} of the time, a turn every {entries[0]['every_s']:.0f} s. "
        f"**{document.get('sessions_per_gpu', 0)} sessions on one {what}.**"
    )
    return f"{table(names, rows)}\n\n{said}"


def _targets(document: Document) -> str:
    """Targets are those of an 8B model on a GPU; elsewhere they mean nothing and are left out."""
    if not document["host"]["gpu"]:
        return ""
    lines = []
    for entry in document.get("ttft", ()):
        if (entry["loop"], entry["client"], entry["turns"]) != ("closed", "adapter", TARGET_TURNS):
            continue
        found = entry["figures"]["ttft_ms"]
        p50, p99 = _value(found, "p50"), _value(found, "p99")
        is_met = p50 <= TARGET_P50_MS and p99 <= TARGET_P99_MS
        lines.append(
            f"- {TARGET_TURNS} turns, {entry['server']}: first text p50 {number(p50, 1)} "
            f"(target {TARGET_P50_MS:.0f}), "
            f"p99 {number(p99, 1)} ms (target {TARGET_P99_MS:.0f}): {'met' if is_met else 'missed'}"
        )
    if (n_sessions := document.get("sessions_per_gpu")) is not None:
        met = "met" if n_sessions >= TARGET_SESSIONS else "missed"
        lines.append(f"- {n_sessions} sessions (target {TARGET_SESSIONS}): {met}")
    return "\n".join(lines)


def _missing(document: Document) -> str:
    lines = [f"- not run: {what}: {why}" for what, why in document["not_run"].items()]
    lines += [f"- failed: {what}: {failure['why']}" for what, failure in document["failures"].items()]
    return "\n".join(lines)


def table(names: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [names, ["---"] * len(names), *rows]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)


def _three(found: Document | None) -> str:
    if found is None:
        return _DASH
    return " / ".join(number(_value(found, name), 1) for name in ("p50", "p95", "p99"))


def _value(found: Document | None, name: str) -> float:
    """JSON has no infinity: a percentile that is null lies among the missing answers."""
    value = None if found is None else found[name]
    return math.inf if value is None else float(value)


def number(value: float | None, digits: int) -> str:
    """A cell: a dash for what was not measured, `> all` for what lies among the missing answers."""
    if value is None:
        return _DASH
    return "> all" if math.isinf(value) else f"{value:.{digits}f}"


def _share(value: float | None) -> str:
    return _DASH if value is None else f"{value:.0%}"


def _seconds(value_ms: float | None) -> float | None:
    return None if value_ms is None else value_ms / 1e3


def _bad(figures: Document) -> str:
    n_missing = figures["n_missing"] + figures["n_broken"]
    return f"{figures['n_late']}, {figures['n_full']}, {n_missing}"
