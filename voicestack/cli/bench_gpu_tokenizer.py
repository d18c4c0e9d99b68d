"""How do tokens become words, and words tokens, for a model that knows nothing?

Every token is a word, so that whatever a random model says can be read and is cut into phrases like
English: of twelve words one ends a sentence and one a clause. And a text becomes the very tokens it was
made of, so that speculation by lookup finds what was said before.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice, product
from pathlib import Path

from voicestack.core.errors import ConfigError

SPECIALS = ("<unk>", "<|start|>", "<|end|>", "<|system|>", "<|user|>", "<|assistant|>")
START, END = 1, 2
"""Their ids."""

CHAT_TEMPLATE = (
    "{% for message in messages %}<|{{ message.role }}|> {{ message.content }} <|end|>{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)

_COMMON = """
    a about after again all also always am an and another any are around as ask at away back be because
    been before begin best better between big book both bring but by call came can card change city
    close come could country day did different do door down each early end even every eye face family
    far feel few find first follow food for form found from full get give go good great group had hand
    hard has have he head hear help her here high him his hold home house how if important in into is it
    its just keep kind know land large last late learn leave left let letter life light like line list
    little live long look made make man many may me mean men might more most mother move much must my
    name near need never new next night no not nothing now number of off often old on once one only open
    or order other our out over own page paper part people place plan play point put question read right
    room run said same saw say school see seem set she should show side small so some sound start state
    still stop story study such take talk tell than that the their them then there these they thing
    think this those thought three through time to today together took turn two under until up us use
    very voice want was watch water way we week well went were what when where which while who why will
    with word work world would write year you young your
"""
WORDS = tuple(re.findall(r"\S+", _COMMON))
"""What prompts are written with: common words, one token each."""

_CONSONANTS, _VOWELS = "bdfghjklmnprstvwz", "aeiou"


def made_up_words() -> Iterator[str]:
    """Words that can be pronounced, without end in practice: `baba`, `babe` ... then longer ones."""
    syllables = [consonant + vowel for consonant in _CONSONANTS for vowel in _VOWELS]
    for n_syllables in range(2, 5):
        for chosen in product(syllables, repeat=n_syllables):
            yield "".join(chosen)


def vocabulary(size: int) -> dict[str, int]:
    """Exactly `size` tokens: special ones, the words of prompts, made-up ones with their punctuation."""
    tokens = dict.fromkeys((*SPECIALS, *WORDS))
    for n, word in enumerate(islice(made_up_words(), size)):
        if len(tokens) >= size:
            break
        tokens[word + {0: ".", 6: ","}.get(n % 12, "")] = None
    return {token: n for n, token in enumerate(tokens)}


def write_tokenizer(folder: Path, size: int) -> None:
    """Write `tokenizer.json` and `tokenizer_config.json` as transformers reads them.

    Raises:
        ConfigError: the package `tokenizers` is missing.
    """
    write_words(folder / "tokenizer.json", vocabulary(size), SPECIALS)
    settings = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "unk_token": SPECIALS[0],
        "bos_token": SPECIALS[START],
        "eos_token": SPECIALS[END],
        "chat_template": CHAT_TEMPLATE,
        "clean_up_tokenization_spaces": False,
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(settings, indent=1))


def write_words(path: Path, words: Mapping[str, int], specials: Sequence[str]) -> None:
    """A tokenizer that knows words between white space, and takes the first for every other one.

    Raises:
        ConfigError: the package `tokenizers` is missing.
    """
    try:
        from tokenizers import Tokenizer
        from tokenizers.models import WordLevel
        from tokenizers.pre_tokenizers import WhitespaceSplit
    except ModuleNotFoundError as missing:
        raise ConfigError("the package tokenizers is missing: pip install tokenizers") from missing
    tokenizer = Tokenizer(WordLevel(dict(words), unk_token=next(iter(words))))
    tokenizer.pre_tokenizer = WhitespaceSplit()
    tokenizer.add_special_tokens(list(specials))
    tokenizer.save(str(path))
