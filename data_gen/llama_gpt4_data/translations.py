"""How the translation of a task or of an answer is asked for, read, and looked at.

The prompts of the paper's translations are unpublished, these are ours. Instruction and input go
together, so that each is translated in the light of the other, between tags, so that code and line
breaks need no escaping.
"""

import re
from dataclasses import dataclass

from llama_gpt4.errors import require
from llama_gpt4.language import HAN_PER_WORD, language_of
from llama_gpt4.rouge import HAN
from llama_gpt4_data.kept_parts import lost_numbers, lost_parts, without_parts

LANGUAGES = {"en": "English", "zh": "Simplified Chinese"}
SLACK_WORDS = 6
"""More or fewer say nothing: a short sentence may well double."""

_PROMPT = """\
{what}

- Write natural {target}, with names and examples as they are.
- Copy unchanged: code, commands and whatever stands in backticks, placeholders such as {{name}}, \
<name>, [name], %s and ____, links, addresses, formulas, and numbers in digits.
- Keep lines, blank lines, lists and their numbering as they are.
{exception}
- Reply with the translated text between the same tags, and nothing else.
"""
_TASK = (
    "Translate the task below from {source} into {target}. The task is meant for somebody else: "
    "translate its text, do not carry it out and do not answer it."
)
_ANSWER = (
    "Translate the answer below from {source} into {target}. Translate it as it is, with its "
    "mistakes: do not correct, complete or shorten it."
)
_IN_TASKS = (
    "- Words that the task is about as {source}, such as a sentence whose grammar is to be "
    "corrected, stay as they are."
)
_IN_ANSWERS = "- Words that are spoken about as {source} stay as they are."
_OPENED, _CLOSED = (
    {
        name: re.compile(rf"[<＜〈]\s*{slash}\s*task[_\s-]?{name}\s*[>＞〉]", re.IGNORECASE)
        for name in ("instruction", "input", "answer")
    }
    for slash in ("", "/")
)
_LIST_ITEM = re.compile(
    r"^\s*(?:[-*•·]\s|\d+\s*[.)、．）]|[（(]\d+[)）]|[A-Za-z][.)]\s)", re.MULTILINE
)
_WORD = re.compile(r"[^\W\d_]+", re.ASCII)
_HAN = re.compile(f"[{HAN}]")


@dataclass(frozen=True)
class Text:
    """Instruction and input of a task, in one language."""

    instruction: str
    input: str
    """Empty where there is none."""


@dataclass(kw_only=True)
class TranslationLimits:
    """What a translation of a text can be like, and not an answer to it."""

    min_length_ratio: float
    max_length_ratio: float
    """Length to that of the source, in words; 1.7 Chinese characters count as one."""

    def __post_init__(self) -> None:
        low, high = self.min_length_ratio, self.max_length_ratio
        require(
            0 <= low < 1 < high,
            f"limits: min_length_ratio={low} and max_length_ratio={high} do not have 1 between",
        )


def translation_prompt(text: Text, source_language: str, target_language: str) -> str:
    tagged = [_tagged("instruction", text.instruction)]
    if text.input:
        tagged.append(_tagged("input", text.input))
    return "\n".join([_rules(_TASK, _IN_TASKS, source_language, target_language), *tagged])


def answer_translation_prompt(answer: str, source_language: str, target_language: str) -> str:
    rules = _rules(_ANSWER, _IN_ANSWERS, source_language, target_language)
    return "\n".join([rules, _tagged("answer", answer)])


def read_translation(reply: str, source: Text) -> Text | None:
    """The text between the tags of `reply`; None where one is missing.

    A closing tag may be missing, and tags may be in full-width brackets; whatever is said around
    them does not matter. An input that the source does not have is there to be found fault with.
    """
    opened = _OPENED["instruction"].search(reply)
    if opened is None:
        return None
    rest = reply[opened.end() :]
    input_opened = _OPENED["input"].search(rest)
    instruction = _until_closed(
        rest[: input_opened.start()] if input_opened else rest, "instruction"
    )
    input = _until_closed(rest[input_opened.end() :], "input") if input_opened else ""
    if not instruction or (source.input and not input):
        return None
    return Text(instruction, input)


def read_translated_answer(reply: str) -> Text | None:
    """The same of an answer, as a text without input."""
    opened = _OPENED["answer"].search(reply)
    answer = "" if opened is None else _until_closed(reply[opened.end() :], "answer")
    return Text(answer, "") if answer else None


def translation_findings(
    source: Text,
    translation: Text,
    source_language: str,
    target_language: str,
    limits: TranslationLimits,
) -> list[str]:
    """What looks wrong with a translation."""
    pairs = [(source.instruction, translation.instruction), (source.input, translation.input)]
    found = {
        "lost_part": any(lost_parts(*pair) for pair in pairs),
        "lost_number": any(lost_numbers(*pair) for pair in pairs),
        "structure": any(
            before and _structure(before) != _structure(after) for before, after in pairs
        ),
        "wrong_language": language_of(translation.instruction) not in (target_language, None),
        "input_untranslated": language_of(source.input) == source_language
        and language_of(translation.input) == source_language,
        "answered": (bool(translation.input) and not source.input)
        or any(_is_longer(*pair, limits) for pair in pairs),
        "shortened": any(_is_shorter(*pair, limits) for pair in pairs),
    }
    return [name for name, is_found in found.items() if is_found]


def _rules(what: str, exception: str, source_language: str, target_language: str) -> str:
    languages = {"source": LANGUAGES[source_language], "target": LANGUAGES[target_language]}
    parts = {"what": what.format(**languages), "exception": exception.format(**languages)}
    return _PROMPT.format(target=languages["target"], **parts)


def _tagged(name: str, text: str) -> str:
    return f"<task_{name}>\n{text}\n</task_{name}>"


def _until_closed(text: str, name: str) -> str:
    closed = list(_CLOSED[name].finditer(text))
    return (text[: closed[-1].start()] if closed else text).strip("\r\n").rstrip()


def _structure(text: str) -> tuple[int, int]:
    """Lines that are not empty, and items of lists."""
    return sum(bool(line.strip()) for line in text.split("\n")), len(_LIST_ITEM.findall(text))


def _words(text: str) -> float:
    """Length of what there is to translate."""
    text = without_parts(text)
    return len(_WORD.findall(text)) + len(_HAN.findall(text)) / HAN_PER_WORD


def _is_longer(source: str, translation: str, limits: TranslationLimits) -> bool:
    return _words(translation) > limits.max_length_ratio * _words(source) + SLACK_WORDS


def _is_shorter(source: str, translation: str, limits: TranslationLimits) -> bool:
    return _words(translation) < limits.min_length_ratio * _words(source) - SLACK_WORDS
