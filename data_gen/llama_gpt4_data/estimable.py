"""What `data estimate` has to know of a task; the task's module holds it as `ESTIMABLE`."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from llama_gpt4_data.endpoint_config import EndpointConfig
from llama_gpt4_data.worker import Item


@dataclass(frozen=True, kw_only=True)
class Estimable:
    """A task whose requests are known before any is sent."""

    program: str
    """Its file in `conf`."""
    schema: type
    """Its configuration, with `run` and `prices`; the functions below are given one."""
    items: Callable[[Any], Sequence[Item]]
    """All that is asked; of a task with rounds, what one round asks."""
    endpoint: Callable[[Any], EndpointConfig]
    """Who is asked."""
    replies: Callable[[Any], str]
    """Which entry of `conf/data_gen/estimate.yaml` says how long its replies are."""
    rounds: Callable[[Any], int] = lambda config: 1
    """How often so many items are asked."""
    per_limit: Callable[[Any], int] = lambda config: 1
    """Items that `limit` counts as one."""
    overrides: Callable[[Sequence[str]], Sequence[str]] = lambda arguments: arguments
    """What the words of the command line are short for."""
