"""From the command line to a typed configuration, and from there to the run's frozen file.

Hydra composes YAML, OmegaConf checks it against the dataclasses, and nothing after this module
sees a `DictConfig`. Every fault is an `InputError` of one line with the full key.
"""

import argparse
import difflib
import hashlib
import json
import os
import re
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, fields, is_dataclass, replace
from importlib import resources
from pathlib import Path
from typing import Any, TypeVar, get_origin, get_type_hints

import hydra
import yaml
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import ConfigCompositionException, MissingConfigException, OverrideParseException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from llama_gpt4.architecture import hidden_size_of
from llama_gpt4.config import RunConfig, TrainConfig
from llama_gpt4.data_config import DataConfig
from llama_gpt4.deepspeed_config import deepspeed_config
from llama_gpt4.errors import InputError
from llama_gpt4.hub import local_snapshot
from llama_gpt4.mapping_text import repeated_name
from llama_gpt4.programs import PROGRAMS
from llama_gpt4.records import is_path

C = TypeVar("C")

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


def compose(schema: type[C], program: str, overrides: Sequence[str]) -> C:
    """`conf/<program>.yaml` with the command line's `overrides`, as a checked `schema` object."""
    return _to_object(schema, _composed(schema, program, overrides))


def as_yaml(config: Any) -> str:
    """A configuration object as the text of `config.yaml`."""
    return yaml.safe_dump(asdict(config), allow_unicode=True, sort_keys=False)


def _composed(schema: type, program: str, overrides: Sequence[str]) -> DictConfig:
    """The composed configuration before it is checked; its interpolations are still open."""
    for override in overrides:
        key, _, value = override.partition("=")
        if name := repeated_name(value):
            raise InputError(f"{key} has the name {name} twice: give each one of its own")
        if key in _mappings(schema) and value.startswith("["):
            raise InputError(_no_mapping(key))  # Hydra and OmegaConf do not say the key
    quoted = [_open_to_new_keys(schema, quoted_override(override)) for override in overrides]
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
            raise InputError(_missing_group(error)) from error
        except (ConfigCompositionException, ValueError) as error:
            raise InputError(_bad_override(schema, typed, error)) from error


def _open_to_new_keys(schema: type, override: str) -> str:
    """Hydra knows no key that is not in the YAML, but a mapping of any keys is there for such."""
    key = override.partition("=")[0]
    is_below = any(f"{key}.".startswith(f"{name}.") for name in _mappings(schema))
    return f"++{override}" if is_below else override


def _mappings(schema: type) -> list[str]:
    """Keys whose values are mappings of any names."""
    return [name for name, kind in _schema_keys(schema) if get_origin(kind) is dict]


def _no_mapping(key: str) -> str:
    return f"{key} is a mapping: write {key}={{name: …}}, also for a single value"


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
    return _to_object(PROGRAMS[program].config_class(), frozen)


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


def config_hash(config: RunConfig) -> str:
    """SHA-256 of all that decides the weights: the configuration without its free keys."""
    kept = [(key, value) for key, value in flatten(asdict(config)) if not is_in(key, FREE_KEYS)]
    return hashlib.sha256(json.dumps(kept, ensure_ascii=False).encode()).hexdigest()


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


def _to_object(schema: type[C], composed: Any) -> C:
    try:
        OmegaConf.resolve(composed)
        config = OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(schema), composed))
    except OmegaConfBaseException as error:
        raise InputError(_bad_value(schema, error)) from error
    assert isinstance(config, schema)
    return config


def _bad_value(schema: type, error: OmegaConfBaseException) -> str:
    key = error.full_key or error.key
    reason = str(error.msg or error).splitlines()[0]
    if key is None:
        return reason
    if key not in dict(_schema_keys(schema)) and "not in" in reason:
        return f"{key} is not a key of this program{_nearest(schema, str(key))}"
    if "mandatory" in reason.lower():
        return f"{key} has no value: give it one, as in {key}=…"
    if "ListConfig" in reason:
        return f"{key} is a list: write {key}=[…], also for a single value"
    if key in _mappings(schema):
        return _no_mapping(str(key))
    return f"{key}: {reason[0].lower()}{reason[1:]}"


def _bad_override(schema: type, typed: dict[str, str], error: Exception) -> str:
    """`typed` gives what the user typed for each override as Hydra got it."""
    known = {key for key, _ in _schema_keys(schema)}
    message = str(error)
    for override in OverridesParser.create().parse_overrides(list(typed)):
        key = override.key_or_group.split("@")[0].replace("/", ".")
        strange = not _is_group(key) or f"override '{override.key_or_group}'" in message
        if key not in known and not override.is_add() and strange:
            return f"{key} is not a key of this program{_nearest(schema, key)}"
    for quoted, override in typed.items():
        # From the sign on: Hydra shows some overrides without the + in front of them.
        message = message.replace(quoted[quoted.find("=") :], override[override.find("=") :])
    return " ".join(message.split())


def quoted_override(override: str) -> str:
    """Words with letters beyond A to Z in quotes: Hydra's grammar knows no others outside them."""
    key, equals, value = override.partition("=")
    words = re.compile(r"""("[^"]*"|'[^']*'|[^\s\[\]{}(),"']+)""")
    quoted = words.sub(
        lambda word: word[0] if word[0].isascii() or word[0][0] in "\"'" else f'"{word[0]}"', value
    )
    return key + equals + quoted


def quoted(text: str) -> str:
    """Any text as the value of an override."""
    return "'" + text.replace("'", "\\'") + "'"


def _is_group(key: str) -> bool:
    return resources.files("llama_gpt4_conf").joinpath(*key.split(".")).is_dir()


def _missing_group(error: MissingConfigException) -> str:
    group, _, name = str(error.missing_cfg_file).rpartition("/")
    if not group:
        return " ".join(str(error).split())
    options = ", ".join(error.options or [])
    near = difflib.get_close_matches(name, error.options or [], n=1)
    hint = f"; did you mean {group}={near[0]}?" if near else ""
    return f"{group}={name} does not exist: there are {options}{hint}"


def _nearest(schema: type, key: str) -> str:
    known = [name for name, _ in _schema_keys(schema)]
    near = difflib.get_close_matches(key, known, n=1, cutoff=0.5)
    last = [name for name in known if name.rpartition(".")[2] == key.rpartition(".")[2]]
    found = (last or near)[:1]
    return f"; did you mean {found[0]}?" if found else ""


def _schema_keys(schema: type, prefix: str = "") -> Iterator[tuple[str, Any]]:
    hints = get_type_hints(schema)
    for field in fields(schema):
        key, kind = prefix + field.name, hints[field.name]
        yield key, kind
        if is_dataclass(kind) and isinstance(kind, type):
            yield from _schema_keys(kind, key + ".")


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


def _absolute_if_local(path: str | None) -> str | None:
    """A local path made absolute; a hub name (`owner/name` that is no path here) stays."""
    if path is None or (not os.path.exists(path) and path.count("/") == 1 and path[0] not in "./~"):
        return path
    return os.path.abspath(os.path.expanduser(path))


def _absolute_file(name: str) -> str:
    return os.path.abspath(os.path.expanduser(name)) if is_path(name) else name
