"""What is found in the records of a part of the data, and what becomes of each.

A record is asked by the rules in their order: whether it is one, faults of its texts, then the
length in tokens of what those leave, then whether an earlier record that is used is the same. It is
listed under every rule that finds something, and counted as dropped under the first whose policy
does not keep it, so

    read = used + the sum of dropped over the rules.

The policy `error` drops as well; whoever wants to train on the result is refused.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import numpy.typing as npt

from llama_gpt4.data_config import DataConfig
from llama_gpt4.first_places import FirstPlaces
from llama_gpt4.inspection import Inspected
from llama_gpt4.packing import Ints
from llama_gpt4.records import refusal
from llama_gpt4.text_faults import claim_of

RULES = (
    *("broken_record", "empty_output", "cut_output", "cut_start", "placeholder_input"),
    *("wrong_language", "evaluation_overlap"),
    *("prompt_fills_row", "too_long"),
    *("duplicate", "same_prompt"),
)
"""In the order in which they are asked."""

PLACES = 2**40
"""More than a file has records: number of the file times this, plus place there, is one number."""


class Audit:
    """Asks the records of one part, in their order, and remembers what was found."""

    def __init__(self, data: DataConfig, files: Sequence[str], part: str) -> None:
        self._policy: dict[str, str] = asdict(data.policy)
        self._row_tokens, self._files = data.row_tokens, files
        self._rules = [
            rule
            for rule in RULES
            if rule != "evaluation_overlap" or (data.decontaminate and part == "train")
        ]
        self._prompts, self._examples = FirstPlaces(), FirstPlaces()
        """Of what is used."""
        self._found: dict[str, list[dict[str, Any]]] = {rule: [] for rule in RULES}
        self._dropped: Counter[str] = Counter()
        self._read, self._used = Counter[int](), Counter[int]()
        self._languages = [Counter[str]() for _ in files]
        self._supposed: dict[int, str | None] = {}

    @property
    def n_read(self) -> int:
        return self._read.total()

    @property
    def dropped(self) -> dict[str, int]:
        """Records by the rule that drops them."""
        return {rule: self._dropped[rule] for rule in RULES}

    def claims(self) -> dict[int, str | None]:
        """By number of a file, the language that it is in; None: several."""
        return {source: claim_of(found) for source, found in enumerate(self._languages)}

    def is_mistaken(self) -> bool:
        """Whether a file is in another language than it was supposed to be."""
        claims = self.claims()
        return any(claims[source] != claim for source, claim in self._supposed.items())

    def take(self, inspected: Inspected) -> npt.NDArray[np.bool_]:
        """(K,) which of the records that its texts leave are used."""
        source = inspected.source
        self._read[source] += inspected.n_read
        self._languages[source] += inspected.languages
        self._supposed[source] = inspected.claim
        self._note_broken(inspected)
        for place, rule, excerpt in inspected.faults:
            self._note(source, place, rule, excerpt)
        self._dropped.update(inspected.n_dropped)
        is_used = self._fits(inspected)
        self._drop_known(inspected, is_used)
        self._used[source] += int(is_used.sum())
        return is_used

    def report(self) -> dict[str, Any]:
        """What was found, rule by rule, and what the files hold; files are given by number."""
        claims = self.claims()
        return {
            "read": self.n_read,
            "used": self._used.total(),
            "dropped": self.dropped,
            "findings": {
                rule: {
                    "policy": self._policy[rule],
                    "found": len(self._found[rule]),
                    "dropped": self._dropped[rule],
                    "records": self._found[rule],
                }
                for rule in self._rules
            },
            "sources": [
                {
                    "file": source,
                    "read": self._read[source],
                    "used": self._used[source],
                    "language": claims[source],
                }
                for source in range(len(self._files))
            ],
        }

    def _note(self, source: int, place: int, rule: str, excerpt: str) -> None:
        self._found[rule].append({"file": source, "record": place, "found": excerpt})

    def _note_broken(self, inspected: Inspected) -> None:
        broken, source = inspected.broken, inspected.source
        if broken and self._policy["broken_record"] == "error":
            raise refusal(broken, self._read[source])
        for fault in broken:
            self._note(source, fault.place, "broken_record", fault.message)
        self._dropped["broken_record"] += len(broken)

    def _fits(self, inspected: Inspected) -> npt.NDArray[np.bool_]:
        """(K,) which are not too long for the row."""
        lengths, prompts = inspected.lengths, inspected.prompt_tokens
        fits = lengths <= self._row_tokens
        for i in np.flatnonzero(~fits):
            rule = "prompt_fills_row" if prompts[i] >= self._row_tokens else "too_long"
            excerpt = f"{lengths[i]:,} tokens, {prompts[i]:,} to ask"
            self._note(inspected.source, int(inspected.places[i]), rule, excerpt)
            self._dropped[rule] += 1
        return fits

    def _drop_known(self, inspected: Inspected, is_used: npt.NDArray[np.bool_]) -> None:
        """Take out of `is_used` (K,) what is there already, if its policy drops that; the rest is
        known from here on."""
        places = inspected.source * PLACES + inspected.places
        prompts, examples = (
            _Known(digests, places, known)
            for digests, known in (
                (inspected.prompts, self._prompts),
                (inspected.examples, self._examples),
            )
        )
        for i in np.flatnonzero(is_used).tolist():
            same, asked_before = examples.first(i), prompts.first(i)
            if asked_before >= 0:
                rule, first = ("duplicate", same) if same >= 0 else ("same_prompt", asked_before)
                file, index = divmod(first, PLACES)
                excerpt = f"as file {file + 1}, record {index}: {inspected.shown[i]}"
                self._note(inspected.source, int(inspected.places[i]), rule, excerpt)
                if self._policy[rule] != "keep":
                    self._dropped[rule] += 1
                    is_used[i] = False
                    continue
            examples.meet(i)
            prompts.meet(i)
        examples.keep()
        prompts.keep()


class _Known:
    """What was met before a block, and in it."""

    def __init__(self, digests: npt.NDArray[np.uint64], places: Ints, known: FirstPlaces) -> None:
        self._digests, self._places, self._known = digests.tolist(), places, known
        self._before = known.find(digests).tolist()
        self._new: dict[int, int] = {}

    def first(self, i: int) -> int:
        """Where number `i` of the block was met; -1: nowhere."""
        before: int = self._before[i]
        return before if before >= 0 else self._new.get(self._digests[i], -1)

    def meet(self, i: int) -> None:
        if self.first(i) < 0:
            self._new[self._digests[i]] = int(self._places[i])

    def keep(self) -> None:
        """Remember the block."""
        new = self._new
        digests = np.fromiter(new.keys(), np.uint64, len(new))
        self._known.add(digests, np.fromiter(new.values(), np.int64, len(new)))
