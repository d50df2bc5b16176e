"""Faults of answers: what is one, and what only looks like one."""

import pytest

from llama_gpt4.prompt import render_prompt
from llama_gpt4.validators import ANSWER_VALIDATORS, Finding, answer_findings, shown

LONG = "The tree gives shade in summer. It keeps the soil in place as well. " * 10
LONG_ZH = "树木在夏天提供阴凉。它们还能保持水土。" * 10

FAULTS: dict[str, list[tuple[str, str]]] = {
    "empty": [("Name a tree.", ""), ("Name a tree.", " \n"), ("Name a tree.", "<nooutput>")],
    "refusal": [
        ("Describe your house.", "As an AI, I don't have a house, so I cannot describe it."),
        ("How do I rob a bank?", "I'm sorry, but I can't assist with that request."),
        ("What will the weather be?", "Sorry, I am not able to access weather data."),
        (
            "Describe your best day.",
            "As an AI language model, I do not have experiences. However, I can help you with "
            "yours. Would you like to tell me about it?",
        ),
        ("你看到我的狗了吗？", "抱歉，作为一个人工智能助手，我无法看到物体。"),
        ("把垃圾拿出去。", "作为一个AI语言模型，我没有实体，所以无法拿垃圾。我可以提醒您去做。"),
        ("评价这家公司。", "对不起，我是一个语言模型，不能给出评价。"),
    ],
    "asks_for_input": [
        ("Summarize the text.", "I'm sorry, but you didn't provide the text. Please share it."),
        ("确定给定文本的主题。", "抱歉，您没有给我任何文本作为参考。请提供文本。"),
        ("为文档起标题。", "由于您没有给出文档内容，我无法选出标题。"),
    ],
    "disclaimer": [
        ("What would you visit in Rome?", "As an AI, I have no preferences. " + LONG),
        ("Draw a tree.", "I'm sorry, but as an AI I cannot draw. Here is one in words. " + LONG),
        ("你最喜欢什么树？", "作为一个人工智能，我没有自己的喜好。" + LONG_ZH),
        ("推荐一种树。", "作为一个AI助手，我推荐橡树。" + LONG_ZH),
    ],
    "wrong_language": [
        ("列出四种树。", "Here is a list of four trees: oak, ash, beech and lime."),
        ("List four kinds of trees.", "四种树木包括橡树、白蜡树、山毛榉和椴树。"),
        ("Describe the tree.", "この木はとても古くて大きいです。"),
    ],
    "leakage": [
        ("Name a tree.", "Oak.\n\n### Instruction:\nName another tree."),
        ("Name a tree.", render_prompt("Name a tree.", "") + " Oak."),
        ("Name a tree.", "Oak<|im_end|>"),
        ("列出一种树。", "### 回复：橡树"),
    ],
    "cut_start": [
        ("Name a tree.", "e! Here is one: the oak."),
        ("Name a tree.", "e, here's one for you: the oak."),
        ("Write a letter.", "bject: A tree\n\nDear Sir, the tree has come."),
        ("Apologise.", "mer,\nWe are sorry about the tree."),
        ("Name a tree.", ": The oak is a tree."),
        ("Name a tree.", "according to the forester, the oak is a tree. Others say so too."),
        ("列出一种树。", "，橡树是一种树。"),
    ],
    "truncated": [
        ("Write about trees.", LONG + "In autumn the leaves of the"),
        ("写一写树。", LONG_ZH + "到了秋天，树叶"),
        ("Write about trees.", LONG + "\n1. Oaks are old.\n2. Limes are tall.\n3. Beeches are"),
        ("Write code.", "Here it is:\n```python\nprint('tree')"),
    ],
}
SOUND: list[tuple[str, str]] = [
    ("Name a tree.", "oak"),
    ("Name a tree.", "None of them is one."),
    ("Is it good or bad?", "positive"),
    ("List nouns.", "oak, ash, lime"),
    ("Which phone?", "iPhone 12 is a phone. It is good."),
    ("Give its domain.", "trees.org"),
    ("Evaluate f(2).", "f(2) = 26"),
    ("Write code.", "def tree(x):\n    return x"),
    ("Write code.", "```python\nprint('tree')\n```"),
    ("Write a poem.", LONG + "\nthe leaf\nthe tree\nthe wood"),
    ("Write a letter.", LONG + "\n\nSincerely,\nJohn Smith"),
    ("List trees.", "\n".join(f"{number}. A tree of kind {number}" for number in range(60))),
    ("Write an excuse.", "I'm sorry, but I'm unable to come into work today. I am ill."),
    ("Answer an angry customer.", "I am sorry to hear that. We will send a new tree at once."),
    ("Why can people not fly?", "People cannot fly, because they have no wings."),
    ("人为什么不能飞？", "人类无法飞行，因为没有翅膀，肌肉也不够有力。"),
    ("道歉邮件。", "尊敬的客户：\n非常抱歉未能按时发货，我们会尽快处理。"),
    ("Translate into Chinese: the oak is a tree", "橡树是一种树木，高大而长寿。"),
    ("将“the oak is a tree”改为问句。", '"Is the oak a tree?" she asked.'),
    ("Python 是什么?", "Python 是一种 programming language，由 Guido van Rossum 创造。"),
    ("写代码。", "```python\nfor tree in trees:\n    print(tree.name, tree.age)\n```"),
    ("Create a heading.", "### Trees of Europe\n\nOak and ash."),
]


@pytest.mark.parametrize(
    ("rule", "instruction", "output"),
    [(rule, *case) for rule, cases in FAULTS.items() for case in cases],
)
def test_a_fault_is_found_and_no_other(rule: str, instruction: str, output: str) -> None:
    found = answer_findings(instruction, "", output, None)
    # Nobody knows the language of an answer that begins in the middle, or of one without words.
    assert [finding.rule for finding in found] == [rule]
    assert "\n" not in found[0].excerpt and len(found[0].excerpt) <= 80


@pytest.mark.parametrize(("instruction", "output"), SOUND)
def test_a_sound_answer_has_no_fault(instruction: str, output: str) -> None:
    assert answer_findings(instruction, "", output, None) == []


def test_each_fault_is_tested() -> None:
    assert FAULTS.keys() == ANSWER_VALIDATORS.keys()


def test_the_declared_language_goes_before_that_of_the_instruction() -> None:
    answer = "Trees are tall and old plants."
    assert answer_findings("Describe a tree.", "", answer, "en") == []
    assert answer_findings("Describe a tree.", "", answer, "zh") == [
        Finding("wrong_language", answer)
    ]


def test_an_answer_may_be_in_the_language_of_what_it_is_about() -> None:
    text = "The oak is a tall and old tree."
    assert answer_findings("总结以下内容。", text, "The oak is tall and old.", "zh") == []


def test_what_is_shown_is_one_short_line() -> None:
    assert shown("a\n b" * 100) == ("a b" * 100)[:79] + "…"
    assert shown("one\ttwo") == "one two"
