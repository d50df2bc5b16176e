"""`judge.json` as a terminal shows it."""

from collections.abc import Sequence
from typing import Any

HEADS = ("points", "relative score", "win/tie/lose", "win rate", "at equal length", "conflicts")


def table(result: dict[str, Any], opponent: str | None) -> str:
    """The numbers of each pair, the matrix where all were compared with all, what is missing."""
    pairs, counts = result["pairs"], result["judgements"]
    lines = [
        f"{counts['total']:,} judgements by {', '.join(counts['judges']) or 'nobody'}: "
        f"{counts['scored']:,} scored, {counts['missing']:,} missing"
    ]
    lines += _listed("missing", counts["failures"]) + _listed("found", counts["findings"])
    lines += _of_files(result["settings"])
    versus = "" if opponent is None else f"against {opponent}"
    lines += ["", *_aligned([(versus, *HEADS), *(_row(pair, opponent) for pair in pairs)])]
    lines += _left_out(pairs)
    if opponent is None and len(pairs) > 1:
        lines += ["", "wins/ties/losses of the row against the column"]
        lines += _aligned(_matrix(result["matrix"]))
    if result["ranking"] is not None:
        order = ", ".join(result["ranking"]["order"])
        found = _interval(result["ranking"]["spearman"], "{:.2f}")
        lines += ["", f"rank correlation with the order {order}: {found}"]
    return "\n".join(lines)


def _row(pair: dict[str, Any], opponent: str | None) -> tuple[str, ...]:
    first, second = pair["models"]
    conflicts = pair["conflicts"]
    return (
        first if opponent is not None else f"{first} : {second}",
        " : ".join(f"{points:g}" for points in pair["points"]),
        _percent(pair["relative_score"]),
        "/".join(map(str, pair["win_tie_lose"])),
        _percent(pair["win_rate"]),
        _percent(pair["length_controlled_win_rate"]),
        "" if conflicts is None else f"{conflicts} of {pair['questions']}",
    )


def _of_files(settings: dict[str, Any]) -> list[str]:
    """What is worth knowing of the answers before their scores."""
    answers = settings.get("answers", {})
    empty = {model: counts["empty"] for model, counts in answers.items() if counts["empty"]}
    further = {
        model: counts["further_samples_left_out"]
        for model, counts in answers.items()
        if counts["further_samples_left_out"]
    }
    lines = _listed("empty answers, judged as they are", empty)
    lines += _listed("samples beyond the first, not judged", further)
    if settings.get("questions_left_out"):
        lines.append(f"questions that not all models answer: {settings['questions_left_out']}")
    return lines


def _left_out(pairs: Sequence[dict[str, Any]]) -> list[str]:
    """A question without a score in some order is left out of all numbers of its pair."""
    return [
        f"left out of {' : '.join(pair['models'])}: {len(pair['missing'])} questions without a "
        f"score ({', '.join(pair['missing'][:5])}{', …' if len(pair['missing']) > 5 else ''})"
        for pair in pairs
        if pair["missing"]
    ]


def _matrix(matrix: dict[str, dict[str, list[int]]]) -> list[tuple[str, ...]]:
    models = list(matrix)
    rows = [("", *models)]
    for row in models:
        cells = (matrix[row].get(column) for column in models)
        rows.append((row, *("/".join(map(str, cell)) if cell else "" for cell in cells)))
    return rows


def _aligned(rows: Sequence[tuple[str, ...]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]


def _percent(estimate: dict[str, Any] | None) -> str:
    return _interval(estimate, "{:.1%}")


def _interval(estimate: dict[str, Any] | None, shape: str) -> str:
    if estimate is None:
        return "none"
    numbers = (estimate[key] for key in ("value", "low", "high"))
    value, low, high = ("none" if n is None else shape.format(n) for n in numbers)
    return f"{value} ({low} to {high})"


def _listed(what: str, counts: dict[str, int]) -> list[str]:
    if not counts:
        return []
    return [f"{what}: " + ", ".join(f"{number} {reason}" for reason, number in counts.items())]
