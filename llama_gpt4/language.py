"""Whether a text is English, Chinese or something else, by its scripts and smallest words.

Training data claim one of the two, and hold Chinese with English terms, either with code, single
words, either quoting the other. Scripts decide, in units of about a word. The commonest small words
tell a sentence from what it quotes, and English from other languages in Latin letters. Code and
links are in no language.
"""

import re

from llama_gpt4.rouge import HAN, HANGUL, KANA

HAN_PER_WORD = 1.7
"""Chinese characters that say about as much as one English word."""
KANA_SHARE = 0.2
"""Japanese has about half of its characters in kana; Chinese that names a brand, the odd one."""
LATIN_PER_CHINESE_WORD = 2.0
"""Chinese is full of Latin names and terms; English has Chinese in quotations only."""


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


ENGLISH = _words(
    "a an and are as at be by can could did does for from has have how i if in into is it its "
    "mean of on or say should that the their there these this to was we were what when where "
    "which who why will with would you your"
)
FOREIGN = _words(
    "au aux avec ces dans des du elle est et je la le les leur nous par pas qui sont sur une vous "
    "auf auch das dem der ein eine einen für ich ist nicht oder sich sie und von wir zu como del "
    "el ella en es esta los las más muy para pero por que su sus y che di della gli non più sono "
    "ao da em isso mais não uma een het niet voor zijn"
)
"""French, German, Spanish, Italian, Portuguese and Dutch; none of them is an English word."""
CHINESE = re.compile("[的是了在有和不这那们吗呢吧么请把将被如何怎哪几给为与及对以用]")

KEYWORDS = _words("a and as for from i if in is on or should to when where with")
"""Small words of English that are words of programming languages as well."""
ENGLISH_SHARE = 0.15
"""Of small words among the words of any English sentence; a list of names has fewer."""
FOREIGN_SHARE = 0.2
"""Of their small words, those languages have more; a list of English titles has one or two."""
ACCENTED_SHARE = 0.34
"""English has some words with accents, Vietnamese and Czech have few without."""

_HAN_CHARACTER = re.compile(f"[{HAN}]")
_KANA_CHARACTER = re.compile(f"[{KANA}]")
_LATIN_WORD = re.compile("[a-z\u00df-\u00f6\u00f8-\u024f\u1e00-\u1eff]+")
_OTHER_WORD = re.compile(
    f"[{HANGUL}]{{1,2}}|[^\\W\\d_a-z\u00aa-\u024f\u1e00-\u1eff{HAN}{KANA}{HANGUL}]+"
)
_FENCED = re.compile(r"```.*?(?:```|\Z)|`[^`\n]*`", re.DOTALL)
_LINK = re.compile(r"(?:https?://|www\.)\S+|</?[a-zA-Z][^<>]*>", re.ASCII)
_MAIL = re.compile(r"[\w.+-]{1,64}@[\w-]+\.[\w.-]+", re.ASCII)
# What every line of `_CODE` has somewhere; far quicker to look for.
_MAY_BE_CODE = re.compile(r"[{}();=>_\[#]|::|//|--|import|return|\":|:$")
_CODE = re.compile(
    r"[{};]\s*$|\s[-+*/]?=\s|[=!<>]=|[-=]>|\w\(\)|::|\w_\w|\w\["
    r"|^\s*(?:def|class|return|elif|else|for|while|if|try|except|print|import|from)\b.*[:)\]]\s*$"
    r"|^\s*(?:def|class|function)\s\w+\("
    r"|^\s*(?:import\s\S+|return\s.*|from\s\S+\simport\s.*|#.*|//.*|--.*|\"[^\"]*\":.*)$",
    re.ASCII,
)
_COMMENT = re.compile(r"(?:#|//).*")
_ASCII = re.compile(r"[\x00-\x7f]+")


def language_of(text: str) -> str | None:
    """`en`, `zh` or `other`; None for a text without words, such as numbers or code alone."""
    text = prose(text).lower()
    latin = _LATIN_WORD.findall(text)
    if text.isascii():
        return _language_of_latin(latin)
    han = len(_HAN_CHARACTER.findall(text))
    kana = len(_KANA_CHARACTER.findall(text))
    others = len(_OTHER_WORD.findall(text))
    if kana > KANA_SHARE * (han + kana):
        others, han = others + han + kana, 0
    chinese_words = han / HAN_PER_WORD
    if others > max(chinese_words, len(latin)):
        return "other"
    if han and not _is_quoted(text, chinese_words, latin):
        return "zh"
    return _language_of_latin(latin)


def prose(text: str) -> str:
    """`text` without code, links and addresses; comments in Chinese stay."""
    if "`" in text:
        text = _FENCED.sub(_without_ascii, text)
    if "@" in text:
        text = _MAIL.sub(" ", text)
    lines = _LINK.sub(" ", text).split("\n")
    return "\n".join(_ASCII.sub(" ", line) if _is_code(line) else line for line in lines)


def _without_ascii(code: re.Match[str]) -> str:
    return _ASCII.sub(" ", code[0])


def _is_code(line: str) -> bool:
    """Whether `line` looks like code and not like a sentence that holds a formula."""
    if not (_MAY_BE_CODE.search(line) and _CODE.search(line)):
        return False
    words = _LATIN_WORD.findall(_COMMENT.sub("", line).lower())
    return (ENGLISH - KEYWORDS).isdisjoint(words)


def _is_quoted(text: str, chinese_words: float, latin: list[str]) -> bool:
    """Whether the Chinese in a text is what a text in Latin letters is about."""
    speaks_chinese = CHINESE.search(text) is not None
    is_minor = len(latin) > LATIN_PER_CHINESE_WORD * chinese_words
    if sum(map(ENGLISH.__contains__, latin)) <= ENGLISH_SHARE * len(latin):
        return is_minor and not speaks_chinese
    return is_minor or (not speaks_chinese and 2 * len(latin) > chinese_words)


def _language_of_latin(words: list[str]) -> str | None:
    if not words:
        return None
    english = sum(map(ENGLISH.__contains__, words))
    foreign = sum(map(FOREIGN.__contains__, words))
    accented = len(words) - sum(map(str.isascii, words))
    if foreign > max(english, FOREIGN_SHARE * len(words)) or accented > max(
        1, ACCENTED_SHARE * len(words)
    ):
        return "other"
    return "en"
