"""Personal data in a text: addresses, numbers of phones, cards, accounts and identities.

What has a checksum is believed only if that is right: cards by Luhn (ISO/IEC 7812), IBAN by the
remainder modulo 97 (ISO 13616), Chinese identity numbers by GB 11643. What documents use for
examples, as example.com and 555-0100, is no one's.
"""

import ipaddress
import re
from collections.abc import Callable, Iterator
from datetime import date

_PLACEHOLDER_HOST = re.compile(
    r"(?:^|\.)(?:(?:[\w-]*example[\w-]*|test|sample|domain|yourdomain|mydomain|email|mail|company"
    r"|[\w-]*company[\w-]*|website|site|server|host|provider|abc|xyz|acme)\.\w+(?:\.\w+)?"
    r"|\w+\.(?:example|test|invalid|local)|localhost)$",
    re.IGNORECASE,
)
_PLACEHOLDER_NAME = re.compile(
    r"^(?:(?:your|my|first|last|user|full)[._-]?\w*|name|email|example|someone|username|x+|abc)$",
    re.IGNORECASE,
)
_EMAIL = re.compile(
    r"(?<![\w.+-])(\w[\w.+-]{1,63})@((?:[\w-]{2,}\.)+[a-z]{2,24})(?![\w@])", re.I | re.A
)
_PHONE = re.compile(
    r"(?<![\w.+/-])(?:"
    r"\+\d{1,3}[ .-]?(?:\(\d{1,4}\)|\d{1,4})(?:[ .-]?\d{2,4}){2,4}"  # +44 20 7946 0958
    r"|(?:1[ .-])?\(?[2-9]\d{2}\)?[ .-][2-9]\d{2}[ .-]\d{4}"  # North America: (212) 736-5000
    r"|1[3-9]\d(?:[ -]?\d{4}){2}"  # mobile, China
    r"|0\d{2,3}-[2-9]\d{6,7}"  # landline, China
    r")(?![\w/-]|\.\d)",
    re.ASCII,
)
_CARD = re.compile(r"(?<![\w.,-])[3-6]\d{3}(?:[ -]?\d{2,6}){2,4}(?![\w-]|[.,]\d)", re.ASCII)
_IBAN = re.compile(r"(?<!\w)[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,3})?(?!\w)", re.A)
_CHINESE_ID = re.compile(r"(?<!\w)[1-8]\d{16}[\dXx](?!\w)", re.ASCII)
_IP = re.compile(r"(?<![\w.-])(?:\d{1,3}\.){3}\d{1,3}(?![\w-]|\.\d)", re.ASCII)

_CARD_ISSUERS = re.compile(r"4|5[1-5]|2[2-7]|3[47]|6(?:011|4|5|2)")
_EXAMPLE_CARDS = frozenset((
    "4111111111111111", "4012888888881881", "4242424242424242", "5555555555554444",
    "5105105105105100", "378282246310005", "371449635398431", "6011111111111117",
))  # fmt: skip
_EXAMPLE_IPS = frozenset(("8.8.8.8", "8.8.4.4", "1.1.1.1", "1.2.3.4", "114.114.114.114"))
_CHINESE_ID_WEIGHTS = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)


def personal_data(text: str) -> Iterator[tuple[str, str]]:
    """What is found, each as its kind and its text."""
    if "@" in text:
        yield from (("e-mail", match[0]) for match in _EMAIL.finditer(text) if _is_email(match))
    if not _FIVE_DIGITS.search(text):
        return
    for kind, pattern, is_real in _NUMBERS:
        yield from ((kind, match[0]) for match in pattern.finditer(text) if is_real(match[0]))


def _is_email(match: re.Match[str]) -> bool:
    name, host = match.groups()
    return not (_PLACEHOLDER_HOST.search(host) or _PLACEHOLDER_NAME.match(name))


def _is_phone(text: str) -> bool:
    digits = _digits(text)
    # 555 is the exchange of films; 123-4567 and 13800138000 are anybody's.
    is_fictional = re.search(r"555\D*\d{4}$", text) or "555" in text[:5]
    is_pattern = re.search(r"123-?4567|12345678|(\d)\1{5}|98765432|13800138000", digits)
    return 8 <= len(digits) <= 13 and not is_fictional and not is_pattern


def _is_card(text: str) -> bool:
    """Luhn: from the right, every second digit doubled, digits of products added; a multiple of 10.

    A year range or a table of numbers passes in one of ten cases, hence the issuers' lengths.
    """
    digits = _digits(text)
    if len(digits) not in (15, 16) or digits in _EXAMPLE_CARDS or not _CARD_ISSUERS.match(digits):
        return False
    if (len(digits) == 15) != (digits[0] == "3") or len(set(digits)) < 4:
        return False
    doubled = (int(digit) * (1 + place % 2) for place, digit in enumerate(reversed(digits)))
    return sum(n // 10 + n % 10 for n in doubled) % 10 == 0


def _is_iban(text: str) -> bool:
    """Country and checksum moved to the end, letters as 10 to 35: the remainder by 97 is 1."""
    compact = text.replace(" ", "")
    moved = compact[4:] + compact[:4]
    return 15 <= len(compact) <= 34 and int("".join(str(int(c, 36)) for c in moved)) % 97 == 1


def _is_chinese_id(text: str) -> bool:
    try:
        date(int(text[6:10]), int(text[10:12]), int(text[12:14]))
    except ValueError:
        return False
    total = sum(w * int(digit) for w, digit in zip(_CHINESE_ID_WEIGHTS, text, strict=False))
    return "10X98765432"[total % 11] == text[17].upper()


def _is_public_ip(text: str) -> bool:
    try:
        address = ipaddress.IPv4Address(text)
    except ValueError:
        return False
    # 2.10.1.5 is more often a version or a section than a host.
    is_version = int(text.split(".")[0]) < 10
    return address.is_global and not is_version and text not in _EXAMPLE_IPS


def _digits(text: str) -> str:
    return "".join(filter(str.isdecimal, text))


_FIVE_DIGITS = re.compile(r"\d(?:\D{0,2}\d){4}")
_NUMBERS: tuple[tuple[str, re.Pattern[str], Callable[[str], bool]], ...] = (
    ("phone", _PHONE, _is_phone),
    ("card", _CARD, _is_card),
    ("IBAN", _IBAN, _is_iban),
    ("Chinese ID", _CHINESE_ID, _is_chinese_id),
    ("IP address", _IP, _is_public_ip),
)
