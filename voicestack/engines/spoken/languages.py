"""Which words does a language have for what is written without words?"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, eq=False)
class Language:
    """What the rules need to know of a language.

    Attributes:
        code: ISO 639-1, as num2words names it.
        locale: As Babel names it.
        words: What marks are called: "point", "at", "slash" ...
        letters: What letters are called where eSpeak NG reads something else: "A" is an article to it.
        decimal: The mark before decimals.
        groups: Marks between thousands.
        month_first: Dates like 3/5 begin with the month.
        abbreviations: What they stand for, by how they are written.
        feminine: Beginnings of names of units of which there is "une", not "un".
    """

    code: str
    locale: str
    words: Mapping[str, str]
    decimal: str = "."
    groups: str = ","
    month_first: bool = False
    letters: Mapping[str, str] = field(default_factory=dict)
    abbreviations: Mapping[str, str] = field(default_factory=dict)
    feminine: tuple[str, ...] = ()

    def word(self, mark: str) -> str:
        """What the mark is called."""
        return self.words[mark]

    @property
    def number(self) -> str:
        """A pattern of a number without its sign."""
        group, decimal = f"[{re.escape(self.groups)}]", re.escape(self.decimal)
        return rf"(?:\d{{1,3}}(?:{group}\d{{3}})+(?!\d)|\d+)(?:{decimal}\d+)?"


_NAMES = re.findall(
    r"\S+",
    "point dot at slash dash underscore colon hash and to plus minus times divided equals percent "
    "about less more degrees number paragraph per_mille question per",
)


def _words(said: str) -> dict[str, str]:
    return dict(zip(_NAMES, (word.replace("_", " ") for word in said.split()), strict=True))


_ENGLISH = Language(
    "en",
    "en_US",
    _words(
        "point dot at slash dash underscore colon hash and to plus minus times divided_by equals percent "
        "about less_than greater_than degrees number section per_mille question_mark per"
    ),
    month_first=True,
    letters={"A": "eigh"},
    abbreviations={
        "e.g.": "for example",
        "i.e.": "that is",
        "etc.": "et cetera",
        "vs.": "versus",
        "approx.": "approximately",
        "Dr.": "Doctor",
        "Mr.": "Mister",
        "Mrs.": "Missis",
        "Ms.": "Miz",
        "Prof.": "Professor",
        "Jr.": "Junior",
        "Sr.": "Senior",
        "Inc.": "Incorporated",
        "Ltd.": "Limited",
        "dept.": "department",
        "a.m.": "eigh M",
        "p.m.": "P M",
        "C#": "C sharp",
        "Ph.D.": "P H D",
        "Vol.": "volume",
        "vol.": "volume",
        "Ave.": "Avenue",
        "Blvd.": "Boulevard",
        "Rd.": "Road",
        "Mt.": "Mount",
        "w/": "with",
        "w/o": "without",
    },
)

GERMAN = Language(
    "de",
    "de_DE",
    _words(
        "Komma Punkt ät Schrägstrich Bindestrich Unterstrich Doppelpunkt Raute und bis plus minus mal "
        "geteilt_durch gleich Prozent etwa kleiner_als größer_als Grad Nummer Paragraf Promille "
        "Fragezeichen pro"
    ),
    decimal=",",
    groups=".\N{NO-BREAK SPACE}\N{NARROW NO-BREAK SPACE}",
    abbreviations={
        "z.B.": "zum Beispiel",
        "z. B.": "zum Beispiel",
        "d.h.": "das heißt",
        "d. h.": "das heißt",
        "usw.": "und so weiter",
        "u.a.": "unter anderem",
        "u. a.": "unter anderem",
        "bzw.": "beziehungsweise",
        "ca.": "circa",
        "evtl.": "eventuell",
        "ggf.": "gegebenenfalls",
        "inkl.": "inklusive",
        "Dr.": "Doktor",
        "Prof.": "Professor",
        "Hr.": "Herr",
        "Fr.": "Frau",
        "Nr.": "Nummer",
        "Str.": "Straße",
        "Tel.": "Telefon",
        "Min.": "Minuten",
        "Std.": "Stunden",
        "Hbf.": "Hauptbahnhof",
        "Abs.": "Absatz",
        "Kap.": "Kapitel",
        "Mio.": "Millionen",
        "Mrd.": "Milliarden",
    },
    feminine=(
        "Stunde",
        "Sekunde",
        "Minute",
        "Millisekunde",
        "Meile",
        "Kilowattstunde",
        "Tonne",
        "Million",
        "Milliarde",
    ),
)

_SPANISH = Language(
    "es",
    "es_ES",
    _words(
        "coma punto arroba barra guion guion_bajo dos_puntos almohadilla y a más menos por "
        "dividido_entre igual_a por_ciento aproximadamente menor_que mayor_que grados número sección "
        "por_mil signo_de_interrogación por"
    ),
    decimal=",",
    groups=".\N{NO-BREAK SPACE}\N{NARROW NO-BREAK SPACE} ",
    abbreviations={
        "Sr.": "señor",
        "Sra.": "señora",
        "Srta.": "señorita",
        "Dr.": "doctor",
        "Dra.": "doctora",
        "Ud.": "usted",
        "Uds.": "ustedes",
        "EE.UU.": "Estados Unidos",
        "EE. UU.": "Estados Unidos",
        "p. ej.": "por ejemplo",
        "p.ej.": "por ejemplo",
        "etc.": "etcétera",
        "aprox.": "aproximadamente",
        "núm.": "número",
        "n.º": "número",
        "tel.": "teléfono",
        "avda.": "avenida",
    },
    feminine=("libra", "milla", "pulgada", "hora", "tonelada", "corona", "rupia", "lira"),
)

_FRENCH = Language(
    "fr",
    "fr_FR",
    _words(
        "virgule point arobase slash tiret tiret_bas deux-points dièse et à plus moins fois divisé_par "
        "égale pour_cent environ inférieur_à supérieur_à degrés numéro paragraphe pour_mille "
        "point_d'interrogation par"
    ),
    decimal=",",
    groups="\N{NO-BREAK SPACE}\N{NARROW NO-BREAK SPACE} ",
    abbreviations={
        "M.": "monsieur",
        "MM.": "messieurs",
        "Mme": "madame",
        "Mmes": "mesdames",
        "Mlle": "mademoiselle",
        "Dr": "docteur",
        "Pr": "professeur",
        "p. ex.": "par exemple",
        "p.ex.": "par exemple",
        "c.-à-d.": "c'est-à-dire",
        "etc.": "et cetera",
        "env.": "environ",
        "n°": "numéro",
        "tél.": "téléphone",
        "bd.": "boulevard",
        "av.": "avenue",
    },
    feminine=("heure", "livre", "seconde", "minute", "milliseconde", "tonne", "couronne", "roupie"),
)

BRITISH = Language(
    "en",
    "en_GB",
    _ENGLISH.words,
    letters=_ENGLISH.letters,
    abbreviations=_ENGLISH.abbreviations,
)

_LATIN_AMERICAN = Language(
    "es",
    "es_419",
    dict(_SPANISH.words) | {"point": "punto"},
    abbreviations=_SPANISH.abbreviations,
    feminine=_SPANISH.feminine,
)

_BY_TAG = {
    "en": _ENGLISH,
    "en-gb": BRITISH,
    "en-au": BRITISH,
    "en-nz": BRITISH,
    "en-ie": BRITISH,
    "en-in": BRITISH,
    "de": GERMAN,
    "es": _SPANISH,
    "es-419": _LATIN_AMERICAN,
    "es-mx": _LATIN_AMERICAN,
    "es-us": _LATIN_AMERICAN,
    "fr": _FRENCH,
}

KNOWN = (_ENGLISH, BRITISH, GERMAN, _SPANISH, _LATIN_AMERICAN, _FRENCH)


def language_of(tag: str) -> Language | None:
    """The language that a tag like "en_US", "de" or "en-gb-x-rp" means; None for one without rules."""
    parts = tag.lower().replace("_", "-").split("-")
    return _BY_TAG.get("-".join(parts[:2])) or _BY_TAG.get(parts[0])
