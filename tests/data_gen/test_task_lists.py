"""Lists of tasks that a teacher goes on with, and what is read from what it writes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from llama_gpt4_data.task_lists import (
    Task,
    instructions_prompt,
    read_instructions,
    read_tasks,
    tasks_prompt,
)

from llama_gpt4.fields import without_placeholder

ADD, WHY = Task("Add the\nnumbers:", "1 2", "3"), Task("Why is the sea blue?", "", "It is deep.")


def test_the_list_has_numbers_in_order_and_an_open_place() -> None:
    prompt = tasks_prompt([ADD, WHY], 20, "en")
    requirements, _, listed = prompt.partition("\n\n###")
    assert "until it has 20 tasks" in requirements and "<noinput>" in requirements
    assert listed == (
        "\n1. Instruction: Add the numbers\n1. Input:\n1 2\n1. Output:\n3\n"
        "###\n2. Instruction: Why is the sea blue?\n2. Input:\n<noinput>\n2. Output:\nIt is deep.\n"
        "###\n3. Instruction:"
    )


def test_the_list_in_chinese() -> None:
    prompt = tasks_prompt([Task("说明海的颜色。", "", "蓝色。")], 20, "zh")
    assert "直到列表共有 20 个任务" in prompt
    assert prompt.endswith("1. 输入:\n<noinput>\n1. 输出:\n蓝色。\n###\n2. 指令:")


def test_a_list_of_bare_instructions() -> None:
    prompt = instructions_prompt([ADD, WHY], 16, "en")
    assert prompt.endswith("\n\n1. Add the numbers\n2. Why is the sea blue?\n3.")
    assert "begins with 2;" in prompt and "up to number 16" in prompt


GOOD = """ Add up.
4. Input:
1 2
4. Output:
3
###
5. Instruction: Say it.
5. Input:
<noinput>
5. Output:
It.
### Not a border
20. is a number here.
###"""
WANTED = [
    Task("Add up.", "1 2", "3"),
    Task("Say it.", "", "It.\n### Not a border\n20. is a number here."),
]


@pytest.mark.parametrize(
    "reply",
    [
        GOOD,
        f"4. Instruction:{GOOD}",
        f"###\n4. Instruction:{GOOD}\n",
        f"Here are the tasks:\n\n###\n4. Instruction:{GOOD}",
        f"4. **Instruction:**{GOOD}".replace("4. Input:", "4. **Input:**"),
        f"### 4. Instruction:{GOOD}",
        f"4) Instruction:{GOOD}".replace("4. ", "4) "),
        f"4. Instruction:{GOOD}".replace("5. Input:", "Input:").replace("5. Output:", "Output:"),
        f"1. Instruction:{GOOD}".replace("4. ", "1. ").replace("5. ", "2. "),
    ],
)
def test_variations_of_the_notation(reply: str) -> None:
    read = read_tasks(reply, 4, "en", is_cut=False)
    assert read.tasks == WANTED
    assert (read.n_unreadable, read.n_cut) == (0, 0)


def test_chinese_labels() -> None:
    reply = "求和。\n4. 输入：\n1 2\n4. 输出：\n3\n###\n5. 指令：说。\n5. 输入：无\n5. 输出：好。"
    assert read_tasks(reply, 4, "zh", is_cut=False).tasks[0] == Task("求和。", "1 2", "3")


def test_a_cut_reply_loses_its_last_task() -> None:
    read = read_tasks(GOOD, 4, "en", is_cut=True)
    assert read.tasks == WANTED[:1] and read.n_cut == 1


@pytest.mark.parametrize(
    "piece",
    [
        "4. Instruction: Add.\n4. Output:\n3",
        "4. Instruction: Add.\n4. Input:\n1 2",
        "4. Instruction: Add.\n4. Output:\n3\n4. Input:\n1 2",
        "4. Instruction:\n4. Input:\n1 2\n4. Output:\n3",
        "4. Instruction: Add.\n4. Input:\n1\n4. Input:\n2\n4. Output:\n3",
        "I cannot do that.",
        "",
    ],
)
def test_what_is_no_whole_task_is_counted(piece: str) -> None:
    read = read_tasks(piece, 4, "en", is_cut=False)
    assert read.tasks == [] and read.n_unreadable == 1


def test_bare_instructions() -> None:
    read = read_instructions(" Add up.\n10. Say\n    it.\n11)  Why?\n12. ", 9, is_cut=False)
    assert [task.instruction for task in read.tasks] == ["Add up.", "Say it.", "Why?"]
    assert read.n_unreadable == 1
    cut = read_instructions("9. Add up.\n10. Say", 9, is_cut=True)
    assert [task.instruction for task in cut.tasks] == ["Add up."] and cut.n_cut == 1


LINE = st.text(st.characters(categories=["L", "N", "Zs"], max_codepoint=0x4FFF), min_size=1)


@given(st.lists(st.builds(Task, LINE, LINE, LINE), min_size=1, max_size=4))
def test_what_is_shown_is_read_back(tasks: list[Task]) -> None:
    tasks = [
        Task(" ".join(t.instruction.split()), t.input.strip(), t.output.strip()) for t in tasks
    ]
    whole = [task for task in tasks if task.instruction]
    prompt = tasks_prompt(whole, 20, "en")
    listed = prompt[prompt.index("\n\n###") :] if whole else ""
    read = read_tasks(listed.rpartition("\n###\n")[0] if whole else "", 1, "en", is_cut=False)
    assert [(t.instruction, t.output) for t in read.tasks] == [
        (t.instruction, t.output) for t in whole
    ]
    assert all(
        a.input == b.input
        for a, b in zip(read.tasks, whole, strict=True)
        if without_placeholder(b.input)
    )
