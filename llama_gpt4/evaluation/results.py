"""The files of results that `llama-gpt4 report` draws from."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from llama_gpt4.errors import InputError
from llama_gpt4.records import json_type

EACH = "*"
"""Stands in a shape for every key of an object."""

_SHARE = {"share": float, "low": float, "high": float}
_ESTIMATE = {"value": float, "low": object, "high": object}
_PAIR = {
    "models": [str], "points": [float], "relative_score": object, "win_rate": object,
    "length_controlled_win_rate": object, "conflicts": object,
}  # fmt: skip
_CRITERION = {
    "votes": int, "shares": {"first": _SHARE, "second": _SHARE, "tie": _SHARE},
    "sign_test_p": object, "alpha": object,
}  # fmt: skip
_ACCURACY = {
    "name": str, "pairs": int, "accuracy": _ESTIMATE, "length_only": _ESTIMATE,
    "source_only": _ESTIMATE,
}  # fmt: skip
_TASK = {
    "task": str, "metric": str, "filter": str, "value": float,
    "shots": object, "questions": object, "stderr": object,
}  # fmt: skip
_BUCKET = {
    "name": str, "means": {EACH: {"rougeL": {"mean": float, "low": float, "high": float}}}
}  # fmt: skip

KINDS: dict[str, dict[str, Any]] = {
    "judge": {"pairs": [_PAIR], "judgements": dict},
    "rouge": {"buckets": [_BUCKET], "models": list, "tokenizer": str, "length_unit": str},
    "texts": {"sets": {EACH: dict}, "side_by_side": list},
    "scores": {"sources": {EACH: {"counts": dict}}, "scale": list},
    "rank": {
        "best_of_n": [{"k": int, "kl_upper_bound": float, "gain": _ESTIMATE}],
        "groups": [{"group": str, "over_mean_answer": _ESTIMATE}],
    },
    "reward": {"overall": _ACCURACY, "by": {EACH: [_ACCURACY]}, "calibration": dict},
    "human": {
        "criteria": {EACH: _CRITERION}, "votes_cast": int, "models": {"first": str, "second": str}
    },
    "lm_eval": {"scores": [_TASK], "model": str},
}  # fmt: skip
"""Keys by which a result file is told from the others, and the shape of what is read there: a type,
one shape for all of a list, or one for each key of an object."""


def damage(value: Any, shape: Any, place: str = "it") -> str | None:
    """What of `value`, which stands at `place`, has not the `shape` that it should have."""
    if isinstance(shape, type):
        wanted = (int, float) if shape is float else shape
        return None if isinstance(value, wanted) else f"{place} is a JSON {json_type(value)}"
    if not isinstance(value, type(shape)):
        return f"{place} is a JSON {json_type(value)}"
    return next(_faults(value, shape, place), None)


def _faults(value: Any, shape: Any, place: str) -> Iterator[str]:
    if isinstance(shape, list):
        inner = [(f"{place}[{number}]", each, shape[0]) for number, each in enumerate(value)]
    else:
        at = "" if place == "it" else f"{place}."
        if EACH in shape:
            shape = dict.fromkeys(value, shape[EACH])
        yield from (f"{place} has no {key}" for key in shape if key not in value)
        inner = [(f"{at}{key}", value[key], shape[key]) for key in shape]
    yield from (fault for name, each, own in inner if (fault := damage(each, own, name)))


def require_apart(output: str, inputs: Iterable[str], key: str = "output") -> None:
    """Refuse to write the result in the place of a file that it is made from; `key` is what the
    user calls it."""
    for file in inputs:
        if Path(file).resolve() == Path(output).resolve():
            raise InputError(f"{key}={output} is read as well: choose another {key}")
