"""A prompt and its responses as one stretch of tokens, in which the prompt is read once.

The first response follows the prompt as in any text. Each further one is a document after it, whose
positions go on from the prompt's and whose prefix is the prompt: what is computed for a response is
what would be if it stood alone after its prompt.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from llama_gpt4.packing import Ints, spans


class Group(NamedTuple):
    """Lengths in tokens."""

    prompt: int
    responses: tuple[int, ...]

    @property
    def tokens(self) -> int:
        """Of the prompt, once, and all responses."""
        return self.prompt + sum(self.responses)


Groups = tuple[Group, ...]


@dataclass(frozen=True)
class Layout:
    """How our decoder reads groups that lie end to end."""

    positions: Ints
    """(N,)."""
    document_lengths: tuple[int, ...]
    """(R,): a response each, the first of a group with its prompt."""
    prefixes: tuple[range, ...]
    """(R,): the rows of the prompt for each further response."""
    ends: Ints
    """(R,): the row of each response's last token."""


def layout(groups: Groups) -> Layout:
    """What our decoder is told of `groups`: positions, documents, and what each sees besides."""
    documents: list[range] = []
    prefixes: list[range] = []
    start = 0
    for group in groups:
        first, *further = group.responses
        own = range(start, start + group.prompt)
        documents += [range(group.prompt + first)]
        documents += [range(group.prompt, group.prompt + n) for n in further]
        prefixes += [range(0), *[own] * len(further)]
        start += group.tokens
    lengths = np.array([len(document) for document in documents])
    firsts = np.array([document.start for document in documents])
    return Layout(
        spans(firsts, lengths),
        tuple(lengths.tolist()),
        tuple(prefixes),
        lengths.cumsum() - 1,
    )


def predictions(groups: Groups) -> tuple[Ints, Ints, Ints]:
    """(M,) each, for every token of a response: the number of the response, the token's row,
    and the row at which it is predicted, which is the one before it; the first token of a response
    is predicted at the last of its prompt."""
    lengths = np.array([n for group in groups for n in group.responses])
    ends = np.cumsum([n for group in groups for n in (group.prompt, *group.responses)])
    is_prompt = np.concatenate([[True] + [False] * len(group.responses) for group in groups])
    firsts = ends[~is_prompt] - lengths
    prompt_ends = np.repeat(ends[is_prompt], [len(group.responses) for group in groups]) - 1
    rows = spans(firsts, lengths)
    whose = np.repeat(np.arange(len(lengths)), lengths)
    predicting = np.where(rows == firsts[whose], prompt_ends[whose], rows - 1)
    return whose, rows, predicting
