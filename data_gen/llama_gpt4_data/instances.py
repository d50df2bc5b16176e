"""Inputs and outputs for a bare instruction, as Self-Instruct made them: is it classification? then
examples, of classification with the label first, lest one label comes up all the time."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from llama_gpt4.fields import without_placeholder
from llama_gpt4_data.endpoint_config import EndpointConfig, chat_request
from llama_gpt4_data.findings import reply_findings
from llama_gpt4_data.requests import Reply, Request
from llama_gpt4_data.task_lists import after_marks
from llama_gpt4_data.task_pool import PoolTask

MOST_INSTANCES = 5
"""Of one instruction; a teacher that goes on and on repeats itself."""
SHOWN = 4
"""Seeds of each kind in a prompt."""

QUESTION = {
    "en": "Is the task a classification task, one whose answer is always one of a few labels? "
    "Answer Yes or No.",
    "zh": "这是一个分类任务吗，也就是说，答案总是少数几个标签之一？请只回答“是”或“否”。",
}
ANSWERS = {"en": ("Yes", "No"), "zh": ("是", "否")}
REQUEST = {
    "en": "Write examples for the last task, up to {most} that differ, each with an input and the "
    "right output, in the notation of the tasks before it. If the task needs no input, write one "
    "example whose input is <noinput>.",
    "zh": "请为最后一个任务编写例子，最多 {most} 个，各不相同，每个都有输入和正确的输出，"
    "格式与前面的任务相同。如果任务不需要输入，只写一个例子，输入写 <noinput>。",
}
LABEL_FIRST = {
    "en": "Write an example for each label of the last task, up to {most}: first the label as the "
    "output, then an input that it fits, in the notation of the tasks before it.",
    "zh": "请为最后一个任务的每个标签各写一个例子，最多 {most} 个：先写标签作为输出，"
    "再写与之相符的输入，格式与前面的任务相同。",
}
WORDS = {"en": ("Task", "Input", "Output"), "zh": ("任务", "输入", "输出")}

_PART = re.compile(r"^[ \t]*\**(Input|Output|输入|输出)\**[ \t]*[:：]\**", re.MULTILINE)
_HEADING = re.compile(r"\s*^[ \t]*(?:#+[ \t]*|\**(?:Example|例子?)[ \t]*\d*\**[:：]?\s*)\Z", re.M)
_YES = re.compile(r"\W*(?:yes\b|是(?!不|否))", re.IGNORECASE)


@dataclass(frozen=True)
class Instance:
    input: str
    output: str


def classification_prompt(task: str, seeds: Sequence[PoolTask], language: str) -> str:
    """Whether `task` is one of classification, after some of which it is known."""
    name = WORDS[language][0]
    shown = _shown(seeds, is_classification=True) + _shown(seeds, is_classification=False)
    lines = [
        f"{name}: {seed.task.instruction}\n{ANSWERS[language][not seed.is_classification]}"
        for seed in shown
    ]
    return "\n\n".join([QUESTION[language], *lines, f"{name}: {task}"])


def says_yes(reply: str) -> bool:
    return _YES.match(reply) is not None


def instances_prompt(
    task: str, seeds: Sequence[PoolTask], language: str, *, is_classification: bool
) -> str:
    """Examples of `task`, after some tasks of its kind with theirs."""
    name, input, output = WORDS[language]
    texts = LABEL_FIRST if is_classification else REQUEST
    lines = []
    for seed in _shown(seeds, is_classification=is_classification):
        parts = [f"{input}: {seed.task.input or '<noinput>'}", f"{output}: {seed.task.output}"]
        if is_classification:
            parts.reverse()
        lines.append("\n".join([f"{name}: {seed.task.instruction}", *parts]))
    request = texts[language].format(most=MOST_INSTANCES)
    return "\n\n".join([request, *lines, f"{name}: {task}"])


def read_instances(reply: str, *, is_cut: bool) -> list[Instance]:
    """The pairs of an input and an output, whichever comes first; a cut one is left out."""
    parts = [
        (mark[1] in ("Input", "输入"), _HEADING.sub("", text).strip())
        for mark, text in after_marks(_PART, reply)
    ]
    if is_cut:
        parts = parts[:-1]
    found = []
    for (first_is_input, first), (second_is_input, second) in zip(
        parts[::2], parts[1::2], strict=False
    ):
        if first_is_input == second_is_input:
            break  # one is missing, and from here on nothing belongs together
        input, output = (first, second) if first_is_input else (second, first)
        found.append(Instance(without_placeholder(input), output))
    return found


def kept_instances(instances: Sequence[Instance]) -> list[Instance]:
    """Those that Self-Instruct keeps, each once: with an output that is not the input, neither of
    them broken off at a colon; none where one input has several outputs."""
    good = [
        instance
        for instance in dict.fromkeys(instances)
        if instance.output
        and instance.output != instance.input
        and not instance.input.endswith((":", "："))
        and not instance.output.endswith((":", "："))
    ]
    inputs = [instance.input for instance in good if instance.input]
    if len(set(inputs)) < len(inputs):
        return []
    return good[:MOST_INSTANCES]


@dataclass(frozen=True)
class InstanceItem:
    """One accepted instruction that is to get inputs and outputs: two requests."""

    task: PoolTask
    seeds: tuple[PoolTask, ...]
    language: str
    teacher: EndpointConfig

    def request(self, replies: Sequence[Reply]) -> Request | None:
        """Whether it is classification; then the examples."""
        if not replies:
            return self._first
        if len(replies) > 1:
            return None
        prompt = instances_prompt(
            self.task.task.instruction,
            self.seeds,
            self.language,
            is_classification=says_yes(replies[0].text),
        )
        return _asked(self.teacher, prompt)

    def records(self, replies: Sequence[Reply]) -> list[dict[str, Any]]:
        """A record of each example that is kept."""
        is_cut = "truncated" in reply_findings(replies[1])
        found = kept_instances(read_instances(replies[1].text, is_cut=is_cut))
        is_classification = says_yes(replies[0].text)
        return [
            {
                "instruction": self.task.task.instruction,
                "input": instance.input,
                "output": instance.output,
                "is_classification": is_classification,
            }
            for instance in found
        ]

    @cached_property
    def _first(self) -> Request:
        prompt = classification_prompt(self.task.task.instruction, self.seeds, self.language)
        return _asked(self.teacher, prompt)


def _asked(teacher: EndpointConfig, prompt: str) -> Request:
    """Without chance, which is for having ideas: here is something to be got right."""
    parameters = {k: v for k, v in teacher.parameters.items() if k != "presence_penalty"}
    if "temperature" in parameters:
        parameters["temperature"] = 0.0
    plain = replace(teacher, parameters=parameters)
    return chat_request(plain, [{"role": "user", "content": prompt}])


def _shown(seeds: Sequence[PoolTask], *, is_classification: bool) -> list[PoolTask]:
    return [seed for seed in seeds if seed.is_classification == is_classification][:SHOWN]
