"""Examples of one answer each, as `Targets` has them."""

import numpy as np

from llama_gpt4.packing import Ints
from llama_gpt4.targets import Targets


def after_prompts(lengths: Ints, prompt_lengths: Ints) -> Targets:
    """All that follows the prompts of examples with `lengths` (n,) is learned."""
    table = np.stack([np.arange(len(lengths)), prompt_lengths, lengths - prompt_lengths], axis=1)
    return Targets.from_table(table, lengths)
