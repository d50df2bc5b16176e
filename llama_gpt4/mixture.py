"""How often an epoch has each example: what `data.weights` makes of several files.

An epoch has round(weight * n) of the n examples of a file: all of them as often as that goes, and
once more a part of them that is drawn. The part is the same in every epoch, so that all epochs have
as many rows and steps, and what a smaller weight draws a larger one draws as well.
"""

from pathlib import Path

import numpy as np

from llama_gpt4.batches import permutation
from llama_gpt4.data_config import DataConfig
from llama_gpt4.errors import InputError
from llama_gpt4.packing import Ints


def times_in_epoch(file_of: Ints, data: DataConfig, seed: int) -> Ints:
    """(n,) of how often an epoch has each example; `file_of` (n,) numbers their `data.files`."""
    times = np.ones(len(file_of), np.int64)
    for file, weight in enumerate(data.weights):
        mine = np.flatnonzero(file_of == file)
        if not len(mine):
            continue  # nothing of this file could be used, whatever its weight
        in_epoch = round(weight * len(mine))
        if not in_epoch:
            raise InputError(
                f"data.weights[{file}]={weight:g} of the {len(mine)} examples of "
                f"{Path(data.files[file]).name} leaves none: raise it to {1 / len(mine):.2g}, or "
                "leave the file out of data.files"
            )
        every, more = divmod(in_epoch, len(mine))
        times[mine] = every
        times[mine[_draw(seed, file, len(mine))[:more]]] += 1
    return times


def _draw(seed: int, file: int, n: int) -> Ints:
    """The n examples of a file in the order in which they are drawn."""
    # A spawn key keeps these bits apart from those of any epoch, which are of [seed, epoch].
    return permutation(np.random.PCG64(np.random.SeedSequence(seed, spawn_key=(file,))), n)
