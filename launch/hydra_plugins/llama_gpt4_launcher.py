"""Hydra's view of our launcher: it hands each batch of trials to the sweep that started Hydra.

Hydra imports every plugin whenever it composes a configuration, so this imports nothing of ours.
"""

from collections.abc import Sequence
from typing import Any, Protocol, cast

from hydra.core.config_store import ConfigStore
from hydra.core.utils import JobReturn
from hydra.plugins.launcher import Launcher


class Trials(Protocol):
    """The task function of `llama-gpt4 train -m`: it runs trials side by side, not one by one."""

    def launch(self, job_overrides: Sequence[Sequence[str]]) -> list[JobReturn]: ...


class LlamaGpt4Launcher(Launcher):
    """`hydra/launcher=llama_gpt4`, which `llama-gpt4 train -m` sets by itself."""

    def setup(self, *, hydra_context: Any, task_function: Any, config: Any) -> None:
        self._trials = cast(Trials, task_function)

    def launch(
        self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int
    ) -> Sequence[JobReturn]:
        return self._trials.launch(job_overrides)


ConfigStore.instance().store(
    group="hydra/launcher",
    name="llama_gpt4",
    node={"_target_": "hydra_plugins.llama_gpt4_launcher.LlamaGpt4Launcher"},
    provider="llama_gpt4",
)
