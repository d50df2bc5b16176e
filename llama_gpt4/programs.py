"""The programs that train, by verb: the module that their processes run, and the class of their
configuration. They are named and not imported, since some lie in rooms above this one."""

import importlib
from collections.abc import Sequence
from dataclasses import dataclass

from llama_gpt4.config import RunConfig


@dataclass(frozen=True)
class Program:
    module: str
    """Started as `python -m <module> --resolved run_dir/config.yaml`."""
    schema: str
    """`<module>:<class>`."""

    def config_class(self) -> type[RunConfig]:
        module, _, name = self.schema.partition(":")
        return getattr(importlib.import_module(module), name)


PROGRAMS = {
    "train": Program("llama_gpt4.train", "llama_gpt4.config:TrainConfig"),
    "reward": Program("llama_gpt4_data.reward", "llama_gpt4_data.reward_config:RewardConfig"),
    "dpo": Program("llama_gpt4_data.dpo", "llama_gpt4_data.dpo_config:DpoConfig"),
}


def split_verb(words: Sequence[str]) -> tuple[str, list[str]]:
    """The program whose verb comes first in `words`, and the rest; without a verb it is `train`."""
    if words and words[0] in PROGRAMS:
        return words[0], list(words[1:])
    return "train", list(words)
