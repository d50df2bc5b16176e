"""A run's configuration in its run directory: written once, read by every rank and every resume."""

import hashlib
import json
import os
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import yaml
from omegaconf import DictConfig, OmegaConf

from llama_gpt4.config import RunConfig
from llama_gpt4.errors import InputError
from llama_gpt4.programs import PROGRAMS
from llama_gpt4.schema import to_object

FREE_KEYS = (
    "name",
    "run_dir",
    "data.cache_dir",
    "launch",
    "tracking",
    "evaluation",
    "train.steps",
    "train.log_every_steps",
    "train.eval_every_steps",
    "train.save_every_steps",
    "train.keep_checkpoints",
    "train.keep_checkpoint_bytes",
    "train.dry",
)
"""What may differ between two starts of one line: it changes neither weights nor their order."""
RESUMABLE_KEYS = (*FREE_KEYS, "zero")
"""What may differ besides where `run_dir` is named: checkpoints are readable at any stage, and only
rounding tells."""


def as_yaml(config: Any) -> str:
    """A configuration object as the text of `config.yaml`."""
    return yaml.safe_dump(asdict(config), allow_unicode=True, sort_keys=False)


def freeze(config: RunConfig) -> Path:
    """Write the configuration to `run_dir/config.yaml`; refuse where another one has trained."""
    path = Path(config.run_dir) / "config.yaml"
    if path.exists() and _has_trained(path.parent):
        _require_same_run(config, path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile("w", dir=path.parent, delete=False) as file:
            file.write(as_yaml(config))
        os.chmod(file.name, 0o644)
        os.replace(file.name, path)
    except OSError as error:
        raise InputError(
            f"run_dir={path.parent} cannot be written ({error.strerror}): choose another"
        ) from error
    return path


def _has_trained(run_dir: Path) -> bool:
    """Whether there is anything to lose: a start that failed before its first step left nothing."""
    return (run_dir / "metrics.jsonl").exists() or any((run_dir / "checkpoints").glob("step-*"))


def _require_same_run(config: RunConfig, path: Path) -> None:
    before = dict(flatten(asdict(load_resolved(path))))
    now = dict(flatten(asdict(config)))
    changed = [
        f"{key}: {_shown(before.get(key))} there, {_shown(now.get(key))} here"
        for key in sorted(before.keys() | now.keys())
        if not is_in(key, RESUMABLE_KEYS) and before.get(key) != now.get(key)
    ]
    if changed:
        more = f" (and {len(changed) - 4} more)" if len(changed) > 4 else ""
        raise InputError(
            f"{path.parent} belongs to another configuration ({'; '.join(changed[:4])}{more}): "
            "choose another run_dir, or give the same values to resume"
        )


def load_resolved(path: Path) -> RunConfig:
    """The configuration of a run as `freeze` wrote it, in the class of its program."""
    if not path.is_file():
        raise InputError(f"{path} does not exist: it is the config.yaml of a run directory")
    frozen = OmegaConf.load(path)
    program = frozen.get("program") if isinstance(frozen, DictConfig) else None
    if program not in PROGRAMS:
        raise InputError(
            f"{path}: program={_shown(program)} is not one of {', '.join(PROGRAMS)}: it is no "
            "config.yaml of a run directory, or of one by an older version"
        )
    try:
        return to_object(PROGRAMS[program].config_class(), frozen)
    except InputError as error:  # a key has come or gone since, which the command line cannot mend
        raise InputError(f"{path} is not as this version writes it: {error}") from error


def config_hash(config: RunConfig) -> str:
    """SHA-256 of all that decides the weights: the configuration without its free keys."""
    kept = [(key, value) for key, value in flatten(asdict(config)) if not is_in(key, FREE_KEYS)]
    return hashlib.sha256(json.dumps(kept, ensure_ascii=False).encode()).hexdigest()


def flatten(tree: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """The values of nested mappings by dotted key."""
    for key, value in tree.items():
        if isinstance(value, dict):
            yield from flatten(value, f"{prefix}{key}.")
        else:
            yield prefix + key, value


def is_in(key: str, keys: Sequence[str]) -> bool:
    """Whether `key` is one of `keys`, or below one."""
    return any(key == one or key.startswith(one + ".") for one in keys)


def _shown(value: Any) -> str:
    return "null" if value is None else str(value)
