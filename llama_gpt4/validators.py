"""What can be wrong with one answer to an instruction, each fault a function of its own.

    fault(instruction, input, output, language) -> what to show of it, or None

`language` is the one that the answer should be in, `en` or `zh`; None: that of the instruction.
They are for anything that a teacher or a model wrote: the teacher client asks `answer_findings` of
each answer and counts, `llama-gpt4 data check` asks it of whole data sets. They were tuned by
reading what they find in GPT-4's answers and in those of weaker models: what they find is
nearly always a fault, and what they miss is what a reader would have to think about.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass

from llama_gpt4.language import language_of, prose
from llama_gpt4.prompt import INPUT, INSTRUCTION, RESPONSE, WITH_INPUT, WITHOUT_INPUT
from llama_gpt4.rouge import HAN, mixed

Validator = Callable[[str, str, str, str | None], str | None]

SHOWN_CHARACTERS = 80
MIN_HELP_TOKENS = 15
"""An answer that first declines has to say at least this much more to be one."""
LONG_ANSWER_TOKENS = 100
"""Shorter answers often are a phrase or a list, and end without a full stop."""


@dataclass(frozen=True, slots=True)
class Finding:
    """A fault of a record, by the name of the rule that found it."""

    rule: str
    excerpt: str
    """What to show of it, in one line."""


def answer_findings(
    instruction: str, input: str, output: str, language: str | None
) -> list[Finding]:
    """All faults of an answer, in the order of `ANSWER_VALIDATORS`."""
    found = (
        (rule, validator(instruction, input, output, language))
        for rule, validator in ANSWER_VALIDATORS.items()
    )
    return [Finding(rule, excerpt) for rule, excerpt in found if excerpt is not None]


def shown(text: str, start: int = 0) -> str:
    """What there is to see of `text` from `start` on, in one line."""
    line = " ".join(text[start : start + 2 * SHOWN_CHARACTERS].split())
    return line if len(line) <= SHOWN_CHARACTERS else line[: SHOWN_CHARACTERS - 1] + "…"


def empty(instruction: str, input: str, output: str, language: str | None) -> str | None:
    """No answer at all, or one that only says so."""
    return shown(output) if output.strip().lower() in NO_ANSWER else None


def cut_start(instruction: str, input: str, output: str, language: str | None) -> str | None:
    """An answer whose first letters are missing, as in "e! Here is" for "Sure! Here is"."""
    is_cut = _CUT_START.match(output) or (
        _LOWER_CASE_START.match(output) and _NEW_SENTENCE.search(output)
    )
    return shown(output) if is_cut else None


def truncated(instruction: str, input: str, output: str, language: str | None) -> str | None:
    """A long answer that stops within a sentence, or code within its fence."""
    text = output.rstrip()
    if not text:
        return None
    if output.count("```") % 2:
        return shown(text, max(0, len(text) - SHOWN_CHARACTERS + 1))
    *earlier, last = [line for line in text.split("\n") if line.strip()]
    if not _STOPS_OPENLY.search(last) or _NO_SENTENCE.search(last):
        return None
    # A name below a letter and a line of a poem follow lines that are no sentences either.
    follows_sentence = bool(earlier) and _ENDED.search(earlier[-1]) and len(mixed(last)) >= 3
    if not (follows_sentence or _WITHIN_LINE.search(last)) or len(mixed(text)) < LONG_ANSWER_TOKENS:
        return None
    return shown(text, max(0, len(text) - SHOWN_CHARACTERS + 1))


def leakage(instruction: str, input: str, output: str, language: str | None) -> str | None:
    """Parts of a prompt or of a chat's format in the answer."""
    found = _LEAK.search(output)
    return shown(output, found.start()) if found else None


def refusal(instruction: str, input: str, output: str, language: str | None) -> str | None:
    """An answer that says that it cannot do the task, and does not do it."""
    is_refused = _declines(output) and not _asks(output) and not _helps(output)
    return shown(output) if is_refused else None


def asks_for_input(instruction: str, input: str, output: str, language: str | None) -> str | None:
    """An answer that only says what it was not given: the fault is the instruction's."""
    return shown(output) if _asks(output) and not _helps(output) else None


def disclaimer(instruction: str, input: str, output: str, language: str | None) -> str | None:
    """An answer that says that a machine wrote it, or what it cannot do, and then does the task."""
    speaks_of_itself = _declines(output) or _asks(output) or _IDENTITY.search(_opening(output))
    return shown(output) if speaks_of_itself and _helps(output) else None


def wrong_language(instruction: str, input: str, output: str, language: str | None) -> str | None:
    """An answer in another language than it should be in, where the task is not about language."""
    if _ABOUT_LANGUAGE.search(instruction) or len(mixed(output)) < 4:
        return None
    expected, found = language or language_of(instruction), language_of(output)
    if None in (expected, found) or expected == found:
        return None
    # Who is asked about a text in another language may answer with some of it.
    quoted = {"zh": _HAN_CHARACTER, "en": _LATIN_WORD}.get(str(found))
    asked = f"{instruction}\n{input}"
    if language_of(input) == found or (quoted and len(set(quoted.findall(asked))) >= 3):
        return None
    if len(prose(output).split()) < len(output.split()) / 2:
        return None  # mostly code
    return shown(output)


ANSWER_VALIDATORS: dict[str, Validator] = {
    "empty": empty,
    "refusal": refusal,
    "asks_for_input": asks_for_input,
    "disclaimer": disclaimer,
    "wrong_language": wrong_language,
    "leakage": leakage,
    "cut_start": cut_start,
    "truncated": truncated,
}

NO_ANSWER = frozenset(
    ("", "<nooutput>", "<no output>", "nooutput", "no output", "n/a", "null", "nan", "无输出")
)
_HAN_CHARACTER = re.compile(f"[{HAN}]")
_LATIN_WORD = re.compile("[A-Za-z]{2,}")
_ABOUT_LANGUAGE = re.compile(
    r"translat|langu|English|Chinese|Mandarin|French|Spanish|German|Italian|Japanese|Korean|Latin"
    r"|Russian|Portuguese|Arabic|Hindi|翻译|译成|译为|语言|[英中法德日韩俄汉]语|英文|中文|日文"
    r"|西班牙|拼音|pinyin",
    re.IGNORECASE,
)

# "e! Here", "e, here", "mer,\nWe", "bject: Hello", ": Time", "，因此"
_CUT_START = re.compile(
    r"\s*(?:[a-z]+! ?[A-Z]|[b-hj-z], [a-z]|[a-z]+,\n+[A-Z]|(?:u?bject|itle|tep \d+): ?\S"
    r"|[:;,.?!)\]}=] [A-Z\[\d(\"'“]|[，。、；：！？）】》])"
)
_LOWER_CASE_START = re.compile(r"\s*[a-z]+,? [a-z]+,? (?:[a-z]+,? )*[A-Za-z]+")
_NEW_SENTENCE = re.compile(r"[a-z][.!?] [A-Z][a-z]*,? [a-z]")
_ENDED = re.compile(r"[.!?。！？…][\"'”’)）】》*_`]*\s*$")
_WITHIN_LINE = re.compile(r"[a-z)][.!?] [A-Z]|[。！？]")
_STOPS_OPENLY = re.compile(r"[^\W_]$|[,，、]$|[(（][^)）]*$")
_NO_SENTENCE = re.compile(r"[=#|`@/]|https?:|^\s*[-—–~]\s*\w+$")

_LEAK = re.compile(
    "|".join(
        re.escape(text.strip())
        for text in (WITH_INPUT, WITHOUT_INPUT, INSTRUCTION, INPUT, RESPONSE)
    )
    + r"|### ?(?:Output|指令|指示|输入|输出|回复|回答|响应)[:：]"
    r"|<\|(?:im_start|im_end|endoftext|system|user|assistant)\|>|\[/?INST\]|</s>\s*$|\A\s*<s>"
)

_SENTENCE = re.compile(r".+?(?:[.!?](?=\s|$)|[。！？]|\n|$)", re.DOTALL)
_APOLOGY = re.compile(
    r"^\W*(?:I(?:'m| am) (?:very |really |so )?(?:sorry|afraid)|sorry\b|my apologies|I apologi[sz]e"
    r"|unfortunately)|^\W*(?:您好，?|你好，?)?(?:我|很|非常)*(?:抱歉|对不起|不好意思|遗憾)",
    re.IGNORECASE,
)
_IDENTITY = re.compile(
    r"\bas an? (?:\w+ )?(?:AI\b|artificial|(?:\w+ )?language model|virtual assistant|chat ?bot)"
    r"|\bI(?:'m| am) (?:just |only )?an? (?:AI\b|artificial|language model|machine)"
    r"|作为(?:一个|一名|一款|一种|个)?.{0,6}?(?:人工智能|AI|语言模型|机器人|虚拟助手)"
    r"|我(?:只)?是(?:一个|一名|一款|一种|个)?.{0,6}?(?:人工智能|AI|语言模型)",
    re.IGNORECASE,
)
_INABILITY = re.compile(
    r"\b(?:cannot|can't|can not|unable to|not able to|not capable of|incapable of"
    r"|(?:do not|don't) (?:have|possess|experience|feel)|not possible for me)"
    r"|无法|不能|没有办法|没办法|不可能|没有(?:实体|能力|自己|个人|亲身|真实|情感|.{0,12}能力)",
    re.IGNORECASE,
)
_CANNOT_DO_IT = re.compile(
    r"\bI(?:'m| am)? (?:(?:can(?:not|'t| not)|unable to|not able to|not capable of)(?: \w+)? "
    r"(?:answer|provid|determin|access|see|view|assist|help|fulfil|complet|compl|summari|generat"
    r"|creat|perform|display|draw|browse|predict|engage|condone|describe|play|read|discuss)"
    r"|(?:do not|don't) have (?:\w+ )?access)"
    r"|我(?:并)?(?:无法|不能|没有办法|没办法)",
    re.IGNORECASE,
)
_NOT_GIVEN = re.compile(
    r"\byou (?:did not|didn't|have not|haven't)(?: \w+)? (?:provid|giv|specif|includ|shar|attach)"
    r"|\bno \w+ (?:was|were|has been|have been) (?:provided|given)"
    r"|[您你](?:还|并)?(?:没有|未|没|并未).{0,4}?(?:提供|给|指定|说明|告诉|上传|附)",
    re.IGNORECASE,
)
_OFFER = re.compile(
    r"\b(?:I|we) (?:can|could|would|will|may)\b|\bI(?:'d| would)? be happy|\bif you\b"
    r"|\byou (?:can|could|may|might|will|would|should)\b|\bplease\b|\blet me know|\bfeel free"
    r"|\bI am (?:able|designed|here)|\bI suggest|\?\s*$"
    r"|我(?:只)?(?:可以|能|会|将|很乐意|愿意)|[您你](?:可以|能|也可以|需要)|如果[您你]|请[您你]?|建议[您你]"
    r"|麻烦[您你]|为了.{0,12}，?我?需要|需要(?:了解|知道)|提供更多|帮助[您你]|[？?]\s*$",
    re.IGNORECASE,
)


def _opening(text: str) -> str:
    """The first two sentences."""
    return "".join(match[0] for match, _ in zip(_SENTENCE.finditer(text), "12", strict=False))


def _declines(text: str) -> bool:
    """Whether the opening says of its writer that it cannot do what was asked."""
    opening = _opening(text)
    if _IDENTITY.search(opening):
        return _INABILITY.search(opening) is not None
    apologises = _APOLOGY.search(opening) is not None
    return _CANNOT_DO_IT.search(opening) is not None and (
        apologises or _CANNOT_DO_IT.match(opening) is not None
    )


def _asks(text: str) -> bool:
    """Whether the opening says that something was not given."""
    return _NOT_GIVEN.search(_opening(text)) is not None


def _helps(text: str) -> bool:
    """Whether anything is left without what declines, what asks, and what is only offered."""
    rest = [
        sentence
        for sentence in (match[0] for match in _SENTENCE.finditer(text))
        if not any(
            pattern.search(sentence)
            for pattern in (_APOLOGY, _IDENTITY, _INABILITY, _NOT_GIVEN, _OFFER)
        )
    ]
    return len(mixed("".join(rest))) >= MIN_HELP_TOKENS
