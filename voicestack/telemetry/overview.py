"""How do the turns of a period stand against their budget? The first page of the dashboard.

Latencies are those of warm turns; of cold ones only where nothing else is asked for. The two never meet in
one percentile.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from voicestack.core.marks import STAGES
from voicestack.telemetry.percentiles import grouped, mean_ratio, percentiles
from voicestack.telemetry.turn_filter import TurnFilter
from voicestack.telemetry.turn_table import ORIGINS, OUTCOMES, RUNGS, VERDICTS, Mask, Rows, TurnTable

MAX_STEPS = 120
STEPS_MS = tuple(
    round(step_s * 1000)
    for step_s in (
        *(1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1_800, 3_600, 7_200, 14_400, 21_600, 43_200),
        *(86_400, 172_800, 604_800, 2_592_000, 31_536_000, 315_360_000),
    )
)
"""A step begins at a multiple of its length, so that a picture that is drawn again moves by whole steps."""

HEAT_EDGES_MS = (
    *(100, 200, 250, 300, 350, 400, 450, 500, 550, 600, 650, 700, 750, 800, 900, 1_000),
    *(1_200, 1_500, 2_000, 3_000, 5_000),
)
"""Finest between the gap that people leave (200 ms) and the line of 800 ms, as `metrics.RESPONSE_EDGES_S`."""

MET, DECLARED, MISSED = (VERDICTS.index(name) for name in ("met", "declared", "missed"))


@dataclass(frozen=True, slots=True)
class Selected:
    """The turns that somebody asks about.

    Attributes:
        rows: Of those that match. Shape (n_turns,), dtype `turn_table.ROW`.
        unmixed: The warm ones of them; the cold ones if only those are wanted.
        words: The vocabularies of the table that they come from.
        wanted: What was asked for.
    """

    rows: Rows
    unmixed: Rows
    words: Mapping[str, Sequence[Any]]
    wanted: TurnFilter

    @classmethod
    def of(cls, table: TurnTable, mask: Mask, wanted: TurnFilter) -> "Selected":
        """From a table."""
        words = {name: list(one.words) for name, one in table.vocabularies.items()}
        rows = table.rows[mask]
        return cls(rows, rows[rows["is_cold"] == bool(wanted.is_cold)], words, wanted)


def overview(
    selected: Selected, shares_ms: Mapping[str, float], slo: Callable[[], Mapping[str, Any]]
) -> dict[str, Any]:
    """The whole page as JSON.

    Args:
        selected: The turns.
        shares_ms: What each stage may take, by name.
        slo: The state of the objective.
    """
    rows, cold = selected.rows, selected.rows["is_cold"]
    unmixed, n_turns = selected.unmixed, len(rows)
    return {
        "from": selected.wanted.from_ms,
        "to": selected.wanted.to_ms,
        "n_turns": n_turns,
        "budget_ms": percentiles(rows["budget_ms"])["p50"],
        "response": percentiles(rows["response_ms"][~cold]),
        "cold_response": percentiles(rows["response_ms"][cold]),
        "heard": percentiles(unmixed["heard_ms"]),
        "silence": percentiles(unmixed["silence_ms"]),
        "cold_rate": mean_ratio(np.count_nonzero(cold), n_turns),
        "verdicts": counts(rows["verdict"], VERDICTS),
        "outcomes": counts(rows["outcome"], OUTCOMES),
        "rungs": rungs(rows),
        "dead_air": int(np.count_nonzero(rows["is_dead_air"])),
        "hidden_ratio": mean_ratio(rows["hidden_ms"].sum(), rows["work_ms"].sum()),
        "by": {name: by_origin(selected, name) for name in ORIGINS},
        "stages": stages(selected, shares_ms),
        "slo": slo(),
        "series": series(selected),
        "interruptions": interruptions(selected),
    }


def counts(codes: Any, names: Sequence[str]) -> dict[str, int]:
    """How often each name occurs."""
    return dict(zip(names, np.bincount(codes, minlength=len(names)).tolist(), strict=True))


def rungs(rows: Rows) -> dict[str, int]:
    """In how many turns each rung was taken; those that were taken in none are left out."""
    taken = {rung: int(np.count_nonzero(rows["rungs"] & (1 << n))) for n, rung in enumerate(RUNGS)}
    return {rung: n for rung, n in taken.items() if n}


def by_origin(selected: Selected, name: str) -> list[dict[str, Any]]:
    """The same by one of ORIGINS, the most turns first."""
    rows, unmixed, words = selected.rows, selected.unmixed, selected.words[name]
    n = np.bincount(rows[name], minlength=len(words))
    _, ranked = grouped(unmixed["response_ms"], unmixed[name], len(words))
    is_met = rows["verdict"] == MET
    n_met = np.bincount(rows[name][is_met], minlength=len(words))
    n_over = np.bincount(rows[name][_is_over(rows)], minlength=len(words))
    out = [
        {
            "name": word,
            "n": int(n[code]),
            **{share: values[code] for share, values in ranked.items()},
            "met_ratio": mean_ratio(n_met[code], n_met[code] + n_over[code]),
        }
        for code, word in enumerate(words)
        if n[code]
    ]
    return sorted(out, key=lambda one: (-one["n"], one["name"]))


def stages(selected: Selected, shares_ms: Mapping[str, float]) -> list[dict[str, Any]]:
    """What each stage took, and in how many turns over their budget it is the one to blame."""
    rows = selected.unmixed
    blamed = rows["blamed"][_is_over(rows)]
    out = []
    for place, stage in enumerate(STAGES):
        lasted, hidden = rows["stage_ms"][:, place], rows["stage_hidden_ms"][:, place]
        took, exposed = percentiles(lasted), percentiles(lasted - hidden)
        out.append(
            {
                "stage": stage,
                **{name: took[name] for name in ("n", "p50", "p95", "p99")},
                "budget_ms": shares_ms.get(stage),
                "exposed_p50": exposed["p50"],
                "exposed_p95": exposed["p95"],
                "hidden_p50": percentiles(hidden)["p50"],
                "blamed": int(np.count_nonzero(blamed == place)),
            }
        )
    return out


def steps_of(wanted: TurnFilter) -> tuple[int, int, int]:
    """The steps of a period: when the first begins (Unix ms), how long each is, how many there are."""
    last_ms = max(wanted.from_ms, wanted.to_ms - 1)
    for step_ms in STEPS_MS:
        n_steps = last_ms // step_ms - wanted.from_ms // step_ms + 1
        if n_steps <= MAX_STEPS:
            return wanted.from_ms // step_ms * step_ms, step_ms, n_steps
    raise ValueError("a period of more than a hundred years")


def series(selected: Selected) -> list[dict[str, Any]]:
    """Response and verdicts step by step."""
    first_ms, step_ms, n_steps = steps_of(selected.wanted)
    rows, unmixed = selected.rows, selected.unmixed
    step, warm_step = ((some["began_ms"] - first_ms) // step_ms for some in (rows, unmixed))
    n = np.bincount(step, minlength=n_steps)
    _, ranked = grouped(unmixed["response_ms"], warm_step, n_steps)
    by_verdict = {
        VERDICTS[code]: np.bincount(step[rows["verdict"] == code], minlength=n_steps)
        for code in (MET, DECLARED, MISSED)
    }
    cold = np.bincount(step[rows["is_cold"]], minlength=n_steps)
    return [
        {
            "at": first_ms + at * step_ms,
            "n": int(n[at]),
            **{share: values[at] for share, values in ranked.items()},
            **{verdict: int(of[at]) for verdict, of in by_verdict.items()},
            "cold": int(cold[at]),
        }
        for at in range(n_steps)
    ]


def interruptions(selected: Selected) -> dict[str, Any]:
    """Who was interrupted, who had not finished, and what the drafts cost."""
    first_ms, step_ms, n_steps = steps_of(selected.wanted)
    rows = selected.rows
    step = (rows["began_ms"] - first_ms) // step_ms
    n, interrupted, cut_off = (
        np.bincount(some, minlength=n_steps)
        for some in (step, step[rows["is_interrupted"]], step[rows["is_cut_off"]])
    )
    return {
        "n_turns": len(rows),
        "interrupted": int(interrupted.sum()),
        "cut_off": int(cut_off.sum()),
        "cut_off_ratio": mean_ratio(cut_off.sum(), len(rows)),
        "drafts": int(rows["n_drafts"].sum()),
        "drafts_won": int(np.count_nonzero(rows["is_drafted"])),
        "drafted_tokens": int(rows["drafted_tokens"].sum()),
        "wasted_tokens": int(rows["wasted_tokens"].sum()),
        "series": [
            {
                "at": first_ms + at * step_ms,
                "n": int(n[at]),
                "interrupted": int(interrupted[at]),
                "cut_off": int(cut_off[at]),
            }
            for at in range(n_steps)
        ],
    }


def heat(selected: Selected) -> dict[str, Any]:
    """How many turns took how long, step by step. The last column is of those over every edge."""
    first_ms, step_ms, n_steps = steps_of(selected.wanted)
    rows = selected.unmixed[~np.isnan(selected.unmixed["response_ms"])]
    column = np.searchsorted(HEAT_EDGES_MS, rows["response_ms"])
    step = (rows["began_ms"] - first_ms) // step_ms
    n_columns = len(HEAT_EDGES_MS) + 1
    cells = np.bincount(step * n_columns + column, minlength=n_steps * n_columns)
    return {
        "at": [first_ms + at * step_ms for at in range(n_steps)],
        "edges_ms": [*HEAT_EDGES_MS, None],
        "counts": cells.reshape(n_steps, n_columns).tolist(),
    }


def _is_over(rows: Rows) -> Mask:
    is_over: Mask = (rows["verdict"] == DECLARED) | (rows["verdict"] == MISSED)
    return is_over
