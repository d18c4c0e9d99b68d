"""What was answered before: bounded, for a while, apart by scope, and no longer once it turns out wrong."""

from collections import Counter, OrderedDict, deque
from dataclasses import dataclass, field

from voicestack.fleet.questions import Question, agree

MAX_ANSWER_CHARS = 600
"""Half a minute of speech. Longer answers are hardly ever wanted twice."""
SCOPE_SHARE = 4
"""One scope may have a quarter of the places: who asks much does not push out what others asked."""
AUDITS = 100
"""The newest comparisons count ..."""
ENOUGH_AUDITS = 8
"""... and fewer than these prove nothing."""


@dataclass(frozen=True, slots=True)
class Rules:
    """How long, and how much.

    Attributes:
        ttl_ns: An answer is given again for so long.
        max_answers: Answers that are kept.
        wrong_ratio_max: With more wrong answers among those compared, none is given any more.
    """

    ttl_ns: int = 3_600_000_000_000
    max_answers: int = 1_000
    wrong_ratio_max: float = 0.05


@dataclass(frozen=True, slots=True)
class _Kept:
    text: str = field(repr=False)
    at_ns: int


class Remembered:
    """Answers by question.

    Args:
        rules: See there.

    Attributes:
        n_wrong: Comparisons that found another answer, since the start.
        n_compared: All of them.
    """

    def __init__(self, rules: Rules) -> None:
        self._rules = rules
        self._kept: OrderedDict[Question, _Kept] = OrderedDict()  # least recently used first
        self._of_scope: Counter[str] = Counter()
        self._verdicts: deque[bool] = deque(maxlen=AUDITS)
        self.n_wrong = self.n_compared = 0

    def __len__(self) -> int:
        return len(self._kept)

    @property
    def wrong_ratio(self) -> float:
        """Of the newest comparisons, those that found another answer; 0 where there were none."""
        return self._verdicts.count(False) / len(self._verdicts) if self._verdicts else 0.0

    @property
    def is_trusted(self) -> bool:
        """Whether answers may be given again."""
        return len(self._verdicts) < ENOUGH_AUDITS or self.wrong_ratio <= self._rules.wrong_ratio_max

    def find(self, question: Question, now_ns: int) -> str | None:
        """The answer, if there is one that is not too old. Whether it may be given is `is_trusted`."""
        kept = self._kept.get(question)
        if kept is None:
            return None
        if now_ns - kept.at_ns > self._rules.ttl_ns:
            self._forget(question)
            return None
        self._kept.move_to_end(question)
        return kept.text

    def keep(self, question: Question, text: str, now_ns: int) -> None:
        """This was answered just now. What was kept of the same question is compared with it, and replaced.

        What has numbers in it, or is long, is not kept.
        """
        before = self.find(question, now_ns)
        if before is not None:
            self._judge(agree(before, text))
            self._forget(question)
        fits = 0 < len(text) <= MAX_ANSWER_CHARS and not any(map(str.isdigit, text))
        if not fits or question.has_number:
            return
        self._kept[question] = _Kept(text, now_ns)
        self._of_scope[question.scope] += 1
        self._make_room(question.scope)

    def _judge(self, is_right: bool) -> None:
        self._verdicts.append(is_right)
        self.n_compared += 1
        self.n_wrong += not is_right

    def _make_room(self, scope: str) -> None:
        if self._of_scope[scope] > max(1, self._rules.max_answers // SCOPE_SHARE):
            self._forget(next(one for one in self._kept if one.scope == scope))
        if len(self._kept) > self._rules.max_answers:
            self._forget(next(iter(self._kept)))

    def _forget(self, question: Question) -> None:
        del self._kept[question]
        self._of_scope[question.scope] -= 1
        if not self._of_scope[question.scope]:
            del self._of_scope[question.scope]
