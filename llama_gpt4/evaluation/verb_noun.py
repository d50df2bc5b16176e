"""Which verbs a data set's answers begin with, and what noun is their object: Figure 1 (a) to (c).

The root of a first sentence is its verb, or a descent from the root finds one; the noun is the
first of the verb's children that is its direct object. The notebook that made the figure descends
into the first child only, and finds no verb below the others: `all` finds it, `first_child` is the
notebook's way.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Protocol

Pair = tuple[str | None, str | None]
"""The lemmas of a verb and of its object, if there are."""
Counts = Mapping[tuple[str, str], int]

DESCENTS = ("all", "first_child")


class Node(Protocol):
    """A word in the tree of its sentence, with the names of spaCy."""

    @property
    def pos_(self) -> str: ...
    @property
    def dep_(self) -> str: ...
    @property
    def lemma_(self) -> str: ...
    @property
    def children(self) -> Iterable["Node"]: ...


@dataclass(frozen=True)
class Sunburst:
    """Which pairs the figure shows."""

    verbs: int
    """So many, the most frequent first, in"""
    nouns: int
    """so many pairs each, as far as these are"""
    above: int
    """more often there than this."""


def verb_and_noun(root: Node, descent: str) -> Pair:
    """The verb of a sentence, depth first from its root, and its object."""
    waiting = [root]
    while waiting:
        word = waiting.pop()
        if word.pos_ == "VERB":
            return word.lemma_, _object(word)
        children = list(word.children)
        waiting += children[:1] if descent == "first_child" else reversed(children)
    return None, None


def count_pairs(found: Iterable[Pair]) -> Counter[tuple[str, str]]:
    """How often each verb has each noun; a verb without one counts for nothing."""
    return Counter((verb, noun) for verb, noun in found if verb is not None and noun is not None)


def ranked(counts: Counts) -> list[tuple[str, str, int]]:
    """All pairs, the most frequent first, equals by the alphabet."""
    order = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return [(verb, noun, n) for (verb, noun), n in order]


def sunburst(counts: Counts, shown: Sunburst) -> dict[str, dict[str, int]]:
    """The pairs that the paper's figure shows, which are not all above its limit: of a verb with
    many frequent nouns it leaves the others out."""
    verbs: Counter[str] = Counter()
    nouns: dict[str, dict[str, int]] = {}
    for verb, noun, n in ranked(counts):
        verbs[verb] += n
        nouns.setdefault(verb, {})[noun] = n
    top = sorted(verbs, key=lambda verb: (-verbs[verb], verb))[: shown.verbs]
    kept = {
        verb: {noun: n for noun, n in list(nouns[verb].items())[: shown.nouns] if n > shown.above}
        for verb in top
    }
    return {verb: of_verb for verb, of_verb in kept.items() if of_verb}


def side_by_side(
    sets: Mapping[str, Counts], rows: int
) -> list[dict[str, tuple[str, str, int] | None]]:
    """The k-th pair of each set in row k, as in Figure 1 (c); None where a set has no more."""
    ranks: Sequence[list[tuple[str, str, int]]] = [
        ranked(counts)[:rows] for counts in sets.values()
    ]
    return [dict(zip(sets, row, strict=True)) for row in zip_longest(*ranks)]


def _object(verb: Node) -> str | None:
    for child in verb.children:
        if child.dep_ == "dobj" and child.pos_ == "NOUN":
            return child.lemma_
    return None
