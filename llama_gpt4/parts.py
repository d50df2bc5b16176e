"""From the files of a part of the data to its examples, one block after the other."""

import logging
from collections import Counter
from collections.abc import Iterator, Mapping
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING

from llama_gpt4.audit import Audit
from llama_gpt4.blocks import Block
from llama_gpt4.errors import InputError
from llama_gpt4.example_writer import ExampleWriter, require_some_fit
from llama_gpt4.examples import Report, dropped_words, files_of
from llama_gpt4.inspection import Inspected, Inspection, Inspector, Task
from llama_gpt4.records import blocks_of, no_record, records_of
from llama_gpt4.text_faults import answer_language, claim_of
from llama_gpt4.workers import Workers, usable_cores

if TYPE_CHECKING:
    from llama_gpt4.tokenizer import Tokenizer

log = logging.getLogger(__name__)

FEW_BLOCKS = 4
"""So many are inspected sooner than another process has started."""


def write_part(inspection: Inspection, tokenizer: "Tokenizer", folder: Path) -> Report:
    """Write the examples of a part to `folder`, and report on its records."""
    claims: Mapping[int, str | None] = {}
    while True:
        audit = Audit(inspection.data, files_of(inspection.data, inspection.part), inspection.part)
        with ExampleWriter(folder) as writer:
            for inspected in _inspected(inspection, tokenizer, claims):
                writer.add(inspected, audit.take(inspected))
                log.info("%s: %d records tokenised", inspection.part, audit.n_read)
        if not audit.is_mistaken():
            break
        # A file begins in another language than it goes on: what was said of that was wrong.
        claims = audit.claims()
    _require_examples(inspection, writer, audit)
    return audit.report() | writer.report(spells_bytes=bool(tokenizer.fallback_ids))


def _inspected(
    inspection: Inspection, tokenizer: "Tokenizer", claims: Mapping[int, str | None]
) -> Iterator[Inspected]:
    """All blocks, inspected, in their order."""
    files = files_of(inspection.data, inspection.part)
    tasks = chain.from_iterable(_tasks(source, file, claims) for source, file in enumerate(files))
    few = list(islice(tasks, FEW_BLOCKS))
    if len(few) < FEW_BLOCKS or usable_cores() == 1:
        yield from map(Inspector(inspection, tokenizer), chain(few, tasks))
        return
    with Workers[Task, Inspected]() as workers:
        yield from workers.work(inspection, chain(few, tasks))


def _tasks(source: int, file: str, claims: Mapping[int, str | None]) -> Iterator[Task]:
    """The blocks of a file; if nobody `claims` what language it is in, its first block does."""
    blocks = blocks_of(file)
    first = next(blocks, None)
    if first is None:
        raise no_record(file)
    claim = claims[source] if source in claims else _claim(first)
    for block in chain([first], blocks):
        yield Task(source, claim, block)


def _claim(block: Block) -> str | None:
    records, _ = records_of(block)
    return claim_of(Counter(answer_language(record.answered) for record in records))


def _require_examples(inspection: Inspection, writer: ExampleWriter, audit: Audit) -> None:
    """Refuse a part that has none."""
    data, part = inspection.data, inspection.part
    if writer.n_by_length.any():
        require_some_fit(writer.n_by_length, data, part)
    if not writer.n_examples:
        raise InputError(
            f"{', '.join(files_of(data, part))}: no record for {part} is left of "
            f"{audit.n_read:,}: {dropped_words(audit.dropped)}"
        )
