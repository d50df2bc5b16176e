"""The audit of prepared data for people: tables of 80 columns, a JSON file and a picture."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from llama_gpt4.config import TrainConfig
from llama_gpt4.evaluation.labels import short_names
from llama_gpt4.examples import BEYOND_ROW, Examples, Prepared, Report, row_advice
from llama_gpt4.files import bytes_aside, write_json
from llama_gpt4.packing import best_fit

AUDIT, PICTURE = "audit.json", "lengths.png"
"""Their names in a run directory."""
BLUE, ORANGE, GREY = "#0072B2", "#D55E00", "#666666"
"""Of Okabe and Ito's palette, which colour-blind readers tell apart; the lines differ as well."""
NAME_COLUMNS = 32
"""For the name of a file; of a longer one the end is shown."""


@dataclass(frozen=True)
class Batching:
    """One way to put the examples into rows, and what of these would be padding."""

    name: str
    rows: int
    padding_share: float


def audit_lines(prepared: Prepared, found: Mapping[str, Sequence[Batching]]) -> Iterator[str]:
    """Everything that was found, part by part, and the `batchings` of each."""
    for part, of_part in found.items():
        report = prepared.report[part]
        dropped = sum(report["dropped"].values())
        yield f"{part}: {report['read']:,} records = {report['used']:,} used + {dropped:,} dropped"
        yield ""
        yield from _finding_lines(report)
        yield ""
        yield from _source_lines(report)
        yield ""
        if "epoch" in report:
            yield from _epoch_lines(report)
            yield ""
        yield from _language_lines(report)
        yield ""
        yield from _batching_lines(of_part)
        yield ""
        share = report["target_tokens"] / report["tokens"]
        yield (
            f"{report['tokens']:,} tokens, {report['target_tokens']:,} of them ({share:.1%}) "
            f"learned; the longest example has {report['longest']:,}"
        )
        yield "every example is whole; the EOS of each answer is learned, and there is no other"
        if any(report["dropped"][rule] for rule in BEYOND_ROW):
            yield row_advice(report)
        yield ""


def write_audit(
    prepared: Prepared, found: Mapping[str, Sequence[Batching]], config: TrainConfig
) -> list[str]:
    """Keep the same in the run directory; in words, what is where."""
    run_dir = Path(config.run_dir)
    kept = {
        "key": prepared.key,
        "fingerprint": prepared.fingerprint,
        "vocab_size": prepared.vocab_size,
        "row_tokens": config.data.row_tokens,
        **{
            part: prepared.report[part] | {"batching": _as_json(of_part)}
            for part, of_part in found.items()
        },
    }
    write_json(run_dir / AUDIT, kept)
    draw_lengths(run_dir / PICTURE, prepared.report["train"], config.data.row_tokens)
    return [
        f"vocabulary: {prepared.vocab_size:,} pieces",
        f"tokens: {prepared.folder}",
        f"all findings, with the numbers of the records: {run_dir / AUDIT}",
        f"lengths of the examples: {run_dir / PICTURE}",
    ]


def batchings(prepared: Prepared, config: TrainConfig) -> dict[str, list[Batching]]:
    """By part, what every batching makes of it."""
    parts = {"train": prepared.train, "validation": prepared.validation}
    return {part: _batchings(of, config) for part, of in parts.items() if of is not None}


def _batchings(examples: Examples, config: TrainConfig) -> list[Batching]:
    """Padded are rows to the longest of a micro-step."""
    lengths, row_tokens = examples.lengths, config.data.row_tokens
    n_packed = len(best_fit(lengths, row_tokens, np.arange(examples.n)))
    rows = config.batch.rows_per_micro_step
    return [
        Batching("pack", n_packed, 1 - lengths.sum() / (n_packed * row_tokens)),
        Batching("pad, in file order", examples.n, padding_share(lengths, rows)),
        Batching("pad, sorted by length", examples.n, padding_share(np.sort(lengths), rows)),
    ]


def padding_share(lengths: np.ndarray, rows: int) -> float:
    """Share of padding where `rows` examples at a time, of `lengths` (n,) in their order, become as
    long as the longest of them."""
    padded = np.pad(lengths, (0, -len(lengths) % rows)).reshape(-1, rows)
    present = np.pad(np.ones_like(lengths), (0, -len(lengths) % rows)).reshape(-1, rows)
    return 1 - lengths.sum() / (padded.max(1) * present.sum(1)).sum()


def draw_lengths(path: Path, report: Report, row_tokens: int) -> None:
    """How long the examples are, and which of them the row does not hold."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    width, counts = report["lengths"]["bin_tokens"], report["lengths"]["examples"]
    starts = width * np.arange(len(counts))
    figure = Figure(figsize=(7, 3.5), layout="constrained", dpi=120)
    axes = figure.add_subplot()
    axes.bar(starts, counts, width, align="edge", color=BLUE)
    for tokens, name, colour, line in (
        (row_tokens, "data.row_tokens", ORANGE, "-"),
        (report["length_99_percent"], "holds 99 %", GREY, "--"),
        (report["length_100_percent"], "holds all", GREY, ":"),
    ):
        axes.axvline(tokens, color=colour, linestyle=line, label=f"{name}: {tokens:,}")
    axes.set_xlabel("tokens of an example")
    axes.set_ylabel(f"examples in {width} tokens")
    axes.legend()
    with bytes_aside(path) as file:
        FigureCanvasAgg(figure).print_png(file)


def _finding_lines(report: Report) -> Iterator[str]:
    yield f"{'finding':<19} {'policy':<6} {'found':>7} {'dropped':>8}  first"
    names = _names(report)
    for rule, finding in report["findings"].items():
        first = ""
        if finding["records"]:
            place = finding["records"][0]
            first = f"{names[place['file']]} {place['record']}"
        yield (
            f"{rule:<19} {finding['policy']:<6} {finding['found']:>7,} {finding['dropped']:>8,}"
            f"  {first}"
        ).rstrip()


def _source_lines(report: Report) -> Iterator[str]:
    yield f"{'file':<{NAME_COLUMNS}} {'records':>9} {'used':>9}  language of its answers"
    names = _names(report)
    for source in report["sources"]:
        yield (
            f"{names[source['file']]:<{NAME_COLUMNS}} {source['read']:>9,} {source['used']:>9,}"
            f"  {source['language'] or 'mixed'}"
        )


def _epoch_lines(report: Report) -> Iterator[str]:
    yield f"{'by data.weights':<{NAME_COLUMNS}} {'weight':>9} {'an epoch':>9}"
    names = _names(report)
    for source in report["sources"]:
        yield (
            f"{names[source['file']]:<{NAME_COLUMNS}} {source['weight']:>9g} "
            f"{source['in_epoch']:>9,}"
        )
    epoch = report["epoch"]
    yield (
        f"an epoch has {epoch['examples']:,} examples, {epoch['tokens']:,} tokens, "
        f"{epoch['target_tokens']:,} of them learned"
    )


def _language_lines(report: Report) -> Iterator[str]:
    yield f"{'answers':<12} {'examples':>9} {'tokens':>12} {'per character':>14} {'in bytes':>9}"
    for language, its in report["languages"].items():
        share = its["byte_fallback_share"]
        in_bytes = "none" if share is None else f"{share:.1%}"
        yield (
            f"{language:<12} {its['examples']:>9,} {its['answer_tokens']:>12,} "
            f"{its['tokens_per_character']:>14.3f} {in_bytes:>9}"
        )


def _batching_lines(found: Sequence[Batching]) -> Iterator[str]:
    yield f"{'batching':<24} {'rows':>9} {'padding':>9}"
    for batching in found:
        yield f"{batching.name:<24} {batching.rows:>9,} {batching.padding_share:>9.1%}"


def _as_json(found: Sequence[Batching]) -> dict[str, Any]:
    return {b.name: {"rows": b.rows, "padding_share": b.padding_share} for b in found}


def _names(report: Report) -> dict[str, str]:
    """Each file by its name; where several have it, from where their paths differ."""
    names = {source["file"]: Path(source["file"]).name for source in report["sources"]}
    seen = Counter(names.values())
    names |= short_names(file for file, name in names.items() if seen[name] > 1)
    return {
        file: name if len(name) <= NAME_COLUMNS else f"…{name[1 - NAME_COLUMNS :]}"
        for file, name in names.items()
    }
