"""From a checkpoint to a folder that `transformers` loads: safetensors, tokenizer, configuration.

Tensors are streamed from the checkpoint into the shards, a few megabytes at a time.
"""

import json
import os
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llama_gpt4.compose import compose
from llama_gpt4.errors import InputError, require, require_one_of
from llama_gpt4.help import wants_help
from llama_gpt4.program import ExitReport, run_program

if TYPE_CHECKING:
    from llama_gpt4.checkpoint import Checkpoint
    from llama_gpt4.safetensors_file import Outgoing


@dataclass(kw_only=True)
class ExportConfig:
    """Which checkpoint becomes which folder."""

    run_dir: str
    """The run whose tokenizer and checkpoints are used."""
    step: int | None
    """Which checkpoint; null: the newest."""
    output: str | None
    """Where the model goes; null: `run_dir/model`."""
    dtype: str | None
    """`float32` or `bfloat16`; null: the precision of the training."""
    shard_bytes: int
    """Largest size of one weight file; a tensor that is larger has a file of its own."""

    def __post_init__(self) -> None:
        if self.dtype is not None:
            require_one_of("dtype", self.dtype, ("float32", "bfloat16"))
        require(self.shard_bytes > 0, f"shard_bytes={self.shard_bytes} must be positive")


def main(argv: Sequence[str] | None = None) -> int:
    arguments = sys.argv[1:] if argv is None else list(argv)
    if wants_help("export", ExportConfig, arguments):
        return 0
    return run_program("export", lambda report: run(arguments, report))


def run(arguments: Sequence[str], report: ExitReport) -> None:
    """Export what the command line asks for, and say which step went where."""
    config = compose(ExportConfig, "export", arguments)
    from llama_gpt4.checkpoint import Checkpoint, saved_steps, step_folder

    run_dir = Path(config.run_dir).resolve()
    steps = saved_steps(run_dir)
    if not steps:
        raise InputError(f"run_dir={config.run_dir} has no checkpoint: name the directory of a run")
    if config.step is not None and config.step not in steps:
        there = ", ".join(map(str, steps))
        raise InputError(
            f"step={config.step} has no checkpoint: {config.run_dir} has steps {there}"
        )
    step = steps[-1] if config.step is None else config.step
    output = Path(config.output).resolve() if config.output else run_dir / "model"
    if output != run_dir / "model" and output.exists():
        raise InputError(f"output={config.output} exists: name another folder, or delete it first")
    checkpoint = Checkpoint(step_folder(run_dir, step))
    damaged = checkpoint.damaged_files()
    if damaged:
        raise InputError(
            f"{checkpoint.folder}/{damaged[0]} is damaged or missing: name another step"
        )
    dtype = config.dtype or checkpoint.architecture["dtype"]
    export(checkpoint, run_dir / "tokenizer", output, dtype, config.shard_bytes)
    print(f"step {step} -> {output}")


def export(
    checkpoint: "Checkpoint",
    tokenizer_folder: Path,
    output: Path,
    dtype: str,
    shard_bytes: int = 5 * 10**9,
) -> None:
    """Write `output` as a whole or not at all; the weights of `checkpoint` in `dtype`.

    A model that is there already stays until the new one is complete.
    """
    if not tokenizer_folder.is_dir():
        raise InputError(f"{tokenizer_folder} does not exist: it is a part of a run directory")
    partial = output.with_name(output.name + ".partial")
    try:
        shutil.rmtree(partial, ignore_errors=True)
        shutil.copytree(tokenizer_folder, partial)
        write_shards(partial, _tensors(checkpoint, dtype), shard_bytes)
        described = {**checkpoint.architecture, "dtype": dtype}
        _write_json(partial / "config.json", described)
        if described["architectures"][0].endswith("ForCausalLM"):
            ids = {key: described[key] for key in ("bos_token_id", "eos_token_id", "pad_token_id")}
            _write_json(partial / "generation_config.json", {"do_sample": False, **ids})
        publish(partial, output)
    except OSError as error:
        shutil.rmtree(partial, ignore_errors=True)
        raise InputError(f"{output} cannot be written ({error.strerror or error})") from error


def publish(partial: Path, output: Path) -> None:
    """Put `partial` in the place of `output`, which is missing for no longer than a rename."""
    for path in partial.rglob("*"):
        _sync(path)
    _sync(partial)
    replaced = output.with_name(output.name + ".replaced")
    shutil.rmtree(replaced, ignore_errors=True)
    if output.exists():
        output.rename(replaced)
    partial.rename(output)
    _sync(output.parent)
    shutil.rmtree(replaced, ignore_errors=True)


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _tensors(checkpoint: "Checkpoint", dtype: str) -> "list[Outgoing]":
    import torch

    from llama_gpt4.safetensors_file import Outgoing

    target = {"float32": torch.float32, "bfloat16": torch.bfloat16}[dtype]
    return [
        Outgoing(name, target, shape, checkpoint.pieces(name, prod(shape)))
        for name, shape in checkpoint.shapes.items()
    ]


def write_shards(folder: Path, tensors: "Sequence[Outgoing]", shard_bytes: int) -> None:
    """Write `tensors` to model.safetensors in `folder`, or to shards of it and their index."""
    from llama_gpt4.safetensors_file import write_file

    shards = _shards(tensors, shard_bytes)
    weight_map: dict[str, str] = {}
    for number, shard in enumerate(shards, 1):
        file = (
            "model.safetensors"
            if len(shards) == 1
            else f"model-{number:05d}-of-{len(shards):05d}.safetensors"
        )
        write_file(folder / file, shard)
        weight_map |= {tensor.name: file for tensor in shard}
    if len(shards) > 1:
        total = sum(tensor.n_bytes for tensor in tensors)
        _write_json(
            folder / "model.safetensors.index.json",
            {"metadata": {"total_size": total}, "weight_map": weight_map},
        )


def _shards(tensors: "Sequence[Outgoing]", shard_bytes: int) -> "list[list[Outgoing]]":
    """`tensors` in order, cut where the next one would pass `shard_bytes`."""
    shards: list[list[Outgoing]] = [[]]
    filled = 0
    for tensor in tensors:
        if shards[-1] and filled + tensor.n_bytes > shard_bytes:
            shards.append([])
            filled = 0
        shards[-1].append(tensor)
        filled += tensor.n_bytes
    return shards


def _write_json(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=2) + "\n")


if __name__ == "__main__":
    sys.exit(main())
