"""Whether there is room on the disk, and what makes room on a GPU."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from llama_gpt4.config import RunConfig
from llama_gpt4.errors import InputError, require


def require_room(config: RunConfig, n: int) -> None:
    """A save of `n` parameters that fills the disk after hours of training is found out before the
    first step."""
    from llama_gpt4.checkpoint import saved_steps

    # Master weights and two moments in float32. The best checkpoint stays beside the newest ones,
    # and what is new is there before the old goes, which holds for the exported model as well.
    checkpoint_bytes = 12 * n
    model_bytes = n * (4 if config.precision.dtype == "float32" else 2)
    validation = config.data.validation
    has_best = bool(validation.files or validation.share)
    limit = config.train.keep_checkpoint_bytes
    require(
        limit is None or limit >= (1 + has_best) * checkpoint_bytes,
        f"train.keep_checkpoint_bytes={limit} is less than {checkpoint_bytes:,} bytes, which a "
        f"checkpoint has, {'for the newest and the best' if has_best else 'for the newest'}",
    )
    there = len(saved_steps(Path(config.run_dir)))
    missing = max(1, config.train.checkpoints_on_disk(checkpoint_bytes, has_best) - there)
    free = shutil.disk_usage(config.run_dir).free
    if free < missing * checkpoint_bytes + model_bytes:
        raise InputError(
            f"run_dir={config.run_dir} has {_size(free)} free, and {missing} more checkpoints "
            f"of {_size(checkpoint_bytes)} and the model of {_size(model_bytes)} must fit: choose "
            "another disk, or lower train.keep_checkpoints"
        )


def _size(n_bytes: int) -> str:
    unit, name = (10**9, "GB") if n_bytes >= 10**9 else (10**6, "MB")
    return f"{n_bytes / unit:,.1f} {name}"


@contextmanager
def lever_for_memory(config: RunConfig) -> Iterator[None]:
    """A GPU that is full is a matter of configuration: say which key makes room."""
    import torch

    try:
        yield
    except torch.OutOfMemoryError as error:
        tried = str(error).split(". GPU")[0].replace("\n", " ")
        raise InputError(
            f"{tried}: {_less_memory(config)} takes less; `llama-gpt4 plan` with the same keys "
            "says what fits"
        ) from error


def _less_memory(config: RunConfig) -> str:
    rows, zero = config.rows_per_micro_step, config.zero
    levers = []
    if config.model.recompute != "full":
        levers.append("model.recompute=full")
    if rows > 1:
        levers.append(f"{config.MICRO_STEP_KEY}={rows // 2}")
    if zero.stage < 3:
        levers.append("zero=stage3")
    elif not (zero.offload_optimizer and zero.offload_parameters):
        levers.append("zero=offload")
    return " or ".join(levers) or "a run on more GPUs"
