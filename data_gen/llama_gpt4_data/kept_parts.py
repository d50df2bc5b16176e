"""What a translation has to leave as it is: code, placeholders, links, and what numbers say."""

import re
import unicodedata
from collections import Counter

_KEPT = re.compile(
    r"```.*?```"
    r"|`[^`\n]+`"
    r"|https?://[^\s<>\"'\x7f-\U0010ffff]*[A-Za-z0-9/_=&#~+-]"
    r"|[\w.+-]+@[\w-]+(?:\.[\w-]+)+"
    r"|\{\{[^{}\n]+\}\}|\$?\{[A-Za-z_][\w.-]*\}"
    r"|</?[A-Za-z_][\w.-]*(?:\s[^<>\n]*)?/?>"
    r"|\[[A-Za-z_][\w.-]*\](?!\()"
    r"|%\([A-Za-z_]\w*\)[sdf]|%(?:\.\d+)?[sdf]\b"
    r"|_{3,}",
    re.DOTALL | re.ASCII,
)
_NUMBER = re.compile(r"\d+(?:[.,]\d+)*")
_SCALE = re.compile(r"\s*-?(?:hundred|thousand|million|billion|trillion|[十百千万萬亿億])", re.I)
NUMERALS = {
    "0": "零|zero|no", "1": "一|one|an?|first", "2": "二|两|双|two|second|both",
    "3": "三|three|third", "4": "四|four|fourth", "5": "五|five|fifth", "6": "六|six|sixth",
    "7": "七|seven|seventh", "8": "八|eight|eighth", "9": "九|nine|ninth", "10": "十|ten|tenth",
    "100": "百|hundred", "1000": "千|thousand", "10000": "万",
}  # fmt: skip
"""How a translator may write a number: 3 sentences are 三个句子."""


def kept_parts(text: str) -> Counter[str]:
    """The parts of `text` that stay, and how often each is there; a gap to fill in is one of any
    length."""
    found = (match[0] for match in _KEPT.finditer(text))
    return Counter("___" if part.startswith("___") else part for part in found)


def lost_parts(source: str, translation: str) -> list[str]:
    """What `source` has more often than `translation`, or the other way round."""
    before, after = kept_parts(source), kept_parts(translation)
    return list((before - after) | (after - before))


def without_parts(text: str) -> str:
    """What there is to translate in `text`."""
    return _KEPT.sub(" ", text)


def lost_numbers(source: str, translation: str) -> list[str]:
    """Numbers of `source` that `translation` has neither in digits nor in words.

    Those before a word such as million do not count: 3 million are 300 万. A translation may have
    more of them: January becomes 1 月.
    """
    there = Counter(_numbers(translation, with_scale=True))
    missing = Counter(_numbers(source, with_scale=False)) - there
    words = without_parts(translation).lower()
    return [number for number in missing if number not in NUMERALS or not _in_words(number, words)]


def _numbers(text: str, *, with_scale: bool) -> list[str]:
    text = unicodedata.normalize("NFKC", without_parts(text))
    return [
        match[0].replace(",", "")
        for match in _NUMBER.finditer(text)
        if with_scale or not _SCALE.match(text, match.end())
    ]


def _in_words(number: str, text: str) -> bool:
    words = NUMERALS[number].split("|")
    latin = "|".join(word for word in words if word.isascii())
    chinese = [word for word in words if not word.isascii()]
    return any(word in text for word in chinese) or (
        bool(latin) and re.search(rf"\b(?:{latin})\b", text, re.ASCII) is not None
    )
