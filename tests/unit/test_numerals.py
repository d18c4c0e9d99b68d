"""Which numbers does somebody say?"""

import pytest

from voicestack.core.numerals import numbers_in


@pytest.mark.parametrize(
    ("said", "numbers"),
    [
        ("set a timer for ten minutes", [10]),
        ("Forty five, please.", [45]),
        ("twenty-one degrees", [21]),
        ("minus two point five", [-2.5]),
        ("it is -3 outside", [-3]),
        ("a hundred and five", [105]),
        ("two thousand and twenty six", [2026]),
        ("three hundred twelve thousand", [312_000]),
        ("at ten thirty", [10, 30]),
        ("1,5 or 12", [1.5, 12]),
        ("you and I and so on", []),
        ("hundreds of horses", []),
        ("", []),
    ],
)
def test_the_numbers_of_a_text(said: str, numbers: list[float]) -> None:
    assert numbers_in(said) == numbers
