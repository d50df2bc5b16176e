"""Configurations and a teacher for tests of new instructions, without a network."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from llama_gpt4_data.generate import Generated
from llama_gpt4_data.instruct_config import DemonstrationsConfig, InstructConfig, RoundsConfig
from llama_gpt4_data.instruction_filters import InstructionFilterConfig
from llama_gpt4_data.journal import Journal
from llama_gpt4_data.worker import Item, replies_to

from . import teacher_answers
from .endpoints import endpoint_config, prices_config, reply, run_config


def filters(language: str = "en") -> InstructionFilterConfig:
    return InstructionFilterConfig(
        language=language, keywords="alpaca", min_length=4, max_length=150
    )


def demonstrations(**values: Any) -> DemonstrationsConfig:
    given: dict[str, Any] = {"seeds": 3, "machine": 0, "choice": "random", "seed": 0}
    return DemonstrationsConfig(**(given | values))


def rounds(**values: Any) -> RoundsConfig:
    given: dict[str, Any] = {"prompts": 2, "most": 3, "least_new_frac": 0.0}
    return RoundsConfig(**(given | values))


def config(**values: Any) -> InstructConfig:
    given: dict[str, Any] = {
        "reply": "tasks",
        "language": "en",
        "seeds": None,
        "count": 1000,
        "list_length": 12,
        "demonstrations": demonstrations(),
        "rounds": rounds(),
        "filters": filters(),
        "max_rouge_l": 0.7,
        "run": run_config(),
        "teacher": endpoint_config(),
        "prices": prices_config(),
    }
    return InstructConfig(**(given | values))


class Asked:
    """Answers at once, as the teacher of the tests does; counts what it was asked."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.prompts: list[str] = []
        self.failing: set[str] = set()
        """Prompts that get no reply."""
        self.most = 1000
        """Requests after which it is interrupted."""

    def __call__(self, items: Sequence[Item]) -> tuple[Generated, Journal]:
        journal, generated = Journal(self.folder), Generated()
        for place, item in enumerate(items):
            while (request := replies_to(item, journal)[1]) is not None:
                prompt = request.body["messages"][0]["content"]
                if prompt in self.failing:
                    generated.failures[place] = "400: no"
                    break
                if len(self.prompts) >= self.most:
                    generated.is_interrupted = True
                    break
                self.prompts.append(prompt)
                journal.append(reply(request, teacher_answers.answer(prompt)))
        journal.close()
        return generated, journal
