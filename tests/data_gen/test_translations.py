"""The request for a translation, the reply, and what looks wrong with it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from llama_gpt4_data.translations import (
    Text,
    TranslationLimits,
    read_translation,
    translation_findings,
    translation_prompt,
)

from llama_gpt4.errors import InputError

LIMITS = TranslationLimits(min_length_ratio=0.3, max_length_ratio=2.0)


def test_instruction_and_input_go_in_one_request() -> None:
    prompt = translation_prompt(Text("Add {x}.", "1\n2"), "en", "zh")
    assert prompt.startswith("Translate the task below from English into Simplified Chinese.")
    assert "do not answer it" in prompt and "{name}" in prompt
    assert prompt.endswith(
        "nothing else.\n\n<task_instruction>\nAdd {x}.\n</task_instruction>\n"
        "<task_input>\n1\n2\n</task_input>"
    )
    assert "task_input" not in translation_prompt(Text("Add.", ""), "zh", "en")
    assert "from Simplified Chinese into English" in translation_prompt(Text("加", ""), "zh", "en")


@pytest.mark.parametrize(
    "reply",
    [
        "<task_instruction>\n相加。\n</task_instruction>\n<task_input>\n1\n2\n</task_input>",
        "好的：\n```\n<task_instruction>相加。</task_instruction>\n\n<task_input>1\n2</task_input>\n```",
        "<Task_Instruction>\n相加。\n<task_input>\n1\n2",
        "< task_instruction >\n相加。\n</ task_instruction >\n< task_input >\n1\n2\n</task_input>",
        "＜task_instruction＞\n相加。\n＜/task_instruction＞\n＜task_input＞\n1\n2\n＜/task_input＞",
        "<task-instruction>相加。</task-instruction>\n<task input>\n1\n2\n</task input>\n完成。",
    ],
)
def test_variations_of_the_tags(reply: str) -> None:
    assert read_translation(reply, Text("Add.", "1\n2")) == Text("相加。", "1\n2")


@pytest.mark.parametrize(
    "reply",
    [
        "",
        "相加。",
        "<task_instruction>\n相加。\n</task_instruction>",
        "<task_input>1 2</task_input>",
        "<task_instruction>\n\n</task_instruction>\n<task_input>1 2</task_input>",
        "<task_instruction>相加。</task_instruction><task_input></task_input>",
    ],
)
def test_a_reply_without_its_parts_cannot_be_read(reply: str) -> None:
    assert read_translation(reply, Text("Add.", "1 2")) is None


def test_only_instructions_need_no_input() -> None:
    reply = "<task_instruction>说。</task_instruction>"
    assert read_translation(reply, Text("Say.", "")) == Text("说。", "")


PLAIN = st.text(
    st.characters(blacklist_characters="<＜〈\r", blacklist_categories=["Cs"]), min_size=1
)


@given(PLAIN.filter(str.strip), PLAIN)
def test_a_text_survives_its_tags(instruction: str, input: str) -> None:
    """Blank lines around it and blanks after it are all that is lost."""
    prompt = translation_prompt(Text(instruction, input), "en", "zh")
    start = prompt.index("<task_instruction>")
    there = read_translation(prompt[start:], Text(instruction, ""))
    assert there == Text(instruction.strip("\r\n").rstrip(), input.strip("\r\n").rstrip())


def findings(source: tuple[str, str], translation: tuple[str, str], to: str = "zh") -> list[str]:
    languages = ("en", "zh") if to == "zh" else ("zh", "en")
    return translation_findings(Text(*source), Text(*translation), *languages, LIMITS)


@pytest.mark.parametrize(
    "source, translation",
    [
        (("Name a fish.", ""), ("说出一种鱼。", "")),
        (("Summarise the text.", "The sea is\nblue."), ("总结这段文字。", "海是\n蓝色的。")),
        (("List:\n- {a}\n- `b`", ""), ("列出：\n- {a}\n- `b`", "")),
        (("Write 3 lines", ""), ("写三行", "")),
        (("Add.", "1 + 2"), ("相加。", "1 + 2")),
    ],
)
def test_a_good_translation(source: tuple[str, str], translation: tuple[str, str]) -> None:
    assert findings(source, translation) == []


def test_the_other_way_round() -> None:
    assert findings(("写一首关于海的诗。", ""), ("Write a poem about the sea.", ""), "en") == []
    assert findings(("写一首关于海的诗。", ""), ("写一首关于大海的诗。", ""), "en") == [
        "wrong_language"
    ]


@pytest.mark.parametrize(
    "source, translation, found",
    [
        (("Run `ls`.", ""), ("运行“列表”。", ""), "lost_part"),
        (("Add 15 to it.", ""), ("把 51 加到里面。", ""), "lost_number"),
        (("Do:\n- one\n- two", ""), ("做：一、二", ""), "structure"),
        (("Do:\n- one\n- two", ""), ("做：\n一\n二", ""), "structure"),
        (("Name a fish.", ""), ("Name a fish.", ""), "wrong_language"),
        (
            ("Fix the grammar.", "He go to the school on every day."),
            ("改正语法错误。", "He go to the school on every day."),
            "input_untranslated",
        ),
        (
            ("Give three tips for staying healthy.", ""),
            (f"三个建议：{'第一，饮食均衡；第二，经常运动；第三，保证睡眠。' * 2}", ""),
            "answered",
        ),
        (("Name a fish.", ""), ("说出一种鱼。", "鲤鱼"), "answered"),
        (
            ("Tell me what every word of the sentence means in its place. " * 8, ""),
            ("说明词义。", ""),
            "shortened",
        ),
    ],
)
def test_what_looks_wrong(
    source: tuple[str, str], translation: tuple[str, str], found: str
) -> None:
    assert findings(source, translation) == [found]


def test_limits_have_the_source_between_them() -> None:
    with pytest.raises(InputError, match="do not have 1 between"):
        TranslationLimits(min_length_ratio=1.5, max_length_ratio=2.0)
