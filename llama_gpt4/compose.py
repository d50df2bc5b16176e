"""From the command line to a typed configuration: nothing after it sees a `DictConfig`.

Every fault is an `InputError` of one line with the full key.
"""

import argparse
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import hydra
from hydra.errors import ConfigCompositionException, MissingConfigException, OverrideParseException
from omegaconf import DictConfig

from llama_gpt4.architecture import hidden_size_of
from llama_gpt4.config import RunConfig, TrainConfig
from llama_gpt4.data_config import DataConfig
from llama_gpt4.deepspeed_config import deepspeed_config
from llama_gpt4.errors import InputError
from llama_gpt4.frozen_config import config_hash, load_resolved
from llama_gpt4.hub import local_snapshot
from llama_gpt4.mapping_text import repeated_name
from llama_gpt4.overrides import bad_override, missing_group, open_to_new_keys, quoted_override
from llama_gpt4.programs import PROGRAMS
from llama_gpt4.records import is_path
from llama_gpt4.schema import mappings, no_mapping, to_object

C = TypeVar("C")


def compose(schema: type[C], program: str, overrides: Sequence[str]) -> C:
    """`conf/<program>.yaml` with the command line's `overrides`, as a checked `schema` object."""
    return to_object(schema, _composed(schema, program, overrides))


def _composed(schema: type, program: str, overrides: Sequence[str]) -> DictConfig:
    """The composed configuration before it is checked; its interpolations are still open."""
    for override in overrides:
        key, _, value = override.partition("=")
        if name := repeated_name(value):
            raise InputError(f"{key} has the name {name} twice: give each one of its own")
        if key in mappings(schema) and value.startswith("["):
            raise InputError(no_mapping(key))  # Hydra and OmegaConf do not say the key
    quoted = [open_to_new_keys(schema, quoted_override(override)) for override in overrides]
    typed = dict(zip(quoted, overrides, strict=True))
    with hydra.initialize_config_module("llama_gpt4_conf", version_base="1.3"):
        try:
            return hydra.compose(program, quoted)
        except OverrideParseException as error:
            raise InputError(
                f"cannot read the override {typed[error.override]!r}: write key=value, and quote "
                "values with spaces or commas, as in 'key=\"a, b\"'"
            ) from error
        except MissingConfigException as error:
            raise InputError(missing_group(error)) from error
        except (ConfigCompositionException, ValueError) as error:
            raise InputError(bad_override(schema, typed, error)) from error


def compose_run(program: str, overrides: Sequence[str]) -> RunConfig:
    """A run's configuration with absolute paths and its run directory's real name."""
    config = compose(PROGRAMS[program].config_class(), program, overrides)
    config = replace(
        config,
        model=replace(config.model, path=_absolute_if_local(config.model.path)),
        tokenizer=replace(config.tokenizer, path=_absolute_if_local(config.tokenizer.path)),
        data=replace(
            config.data,
            files=[_absolute_file(name) for name in config.data.files],
            cache_dir=os.path.abspath(config.data.cache_dir),
            validation=replace(
                config.data.validation,
                files=[_absolute_file(name) for name in config.data.validation.files],
            ),
        ),
    )
    if isinstance(config.data, DataConfig):
        files = [_absolute_file(name) for name in config.data.decontaminate]
        config = replace(config, data=replace(config.data, decontaminate=files))
    if isinstance(config, TrainConfig) and (asked := config.evaluation).questions is not None:
        questions = _absolute_file(asked.questions)
        config = replace(config, evaluation=replace(asked, questions=questions))
    named = config.run_dir.replace("{hash}", config_hash(config)[:8])
    return replace(config, run_dir=os.path.abspath(named))


def compose_training(overrides: Sequence[str]) -> TrainConfig:
    """The same of an instruction tuning."""
    config = compose_run("train", overrides)
    assert isinstance(config, TrainConfig)
    return config


def run_config(program: str, arguments: Sequence[str]) -> RunConfig:
    """The configuration of a program's command line: overrides, or `--resolved config.yaml`."""
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("--resolved", type=Path)
    parser.add_argument("--local_rank", "--local-rank")  # some launchers add it; RANK says it all
    known, overrides = parser.parse_known_args(list(arguments))
    return load_resolved(known.resolved) if known.resolved else compose_run(program, overrides)


def training_config(arguments: Sequence[str]) -> TrainConfig:
    """The same of an instruction tuning."""
    config = run_config("train", arguments)
    if not isinstance(config, TrainConfig):
        raise InputError(f"{config.run_dir} is a run of `llama-gpt4 {config.program}`")
    return config


def require_consistent(config: RunConfig, world_size: int) -> None:
    """Refuse, before anything is prepared or started, what contradicts the model's config.json or
    what DeepSpeed is told on `world_size` processes."""
    hidden_size = config.model.hidden_size
    if config.model.path is not None:
        folder = local_snapshot(config.model.path, wanted=("config.json",))
        hidden_size = hidden_size_of(folder, config.model, config.FAMILIES)
    assert hidden_size is not None  # ModelConfig asks for it where there is no path
    deepspeed_config(config, hidden_size, world_size)


def _absolute_if_local(path: str | None) -> str | None:
    """A local path made absolute; a hub name (`owner/name` that is no path here) stays."""
    if path is None or (not os.path.exists(path) and path.count("/") == 1 and path[0] not in "./~"):
        return path
    return os.path.abspath(os.path.expanduser(path))


def _absolute_file(name: str) -> str:
    return os.path.abspath(os.path.expanduser(name)) if is_path(name) else name
