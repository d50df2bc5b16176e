"""The same questions answered before and after a training, and the perplexity of its held-out
records: what `evaluation.questions` asks for.

All of it is in the run directory when the training ends, found by all ranks on the way: answers in
`samples/step-0.jsonl` and in those of the last step, evaluation losses in `metrics.jsonl`. So a run
that was resumed still compares with its true start.
"""

import json
import math
from pathlib import Path
from typing import Any

from llama_gpt4.files import write_json
from llama_gpt4.samples import read_samples
from llama_gpt4.summary import Summary, Table

FILE = "before_after.json"
SHOWN = 4
"""Questions on the terminal."""
SHOWN_CHARACTERS = 80
"""Of each text there."""


def compare(run_dir: Path, last_step: int) -> Summary:
    """Write `run_dir/before_after.json`, print the beginning of it, and give it to the tracker."""
    answers = _answers(run_dir, last_step)
    perplexity = _perplexity(run_dir, last_step)
    write_json(run_dir / FILE, {"steps": last_step, "perplexity": perplexity, "answers": answers})
    print(*_lines(last_step, answers, perplexity), sep="\n", flush=True)
    columns = ["question", "before", "after"]
    rows = [[answer[column] for column in columns] for answer in answers]
    return Summary(
        scalars={
            f"perplexity/{when}": perplexity[when]
            for when in ("before", "after")
            if perplexity is not None and perplexity[when] is not None
        },
        tables={"before_after": Table(columns, rows)} if rows else {},
        pictures={},
    )


def perplexity_of(loss: float) -> float | None:
    """exp(`loss`), of the mean negative log-likelihood over all target tokens of the held-out
    records, each counted once; None where that is no finite number."""
    try:
        found = math.exp(loss)
    except OverflowError:
        return None
    return found if math.isfinite(found) else None


def _answers(run_dir: Path, last_step: int) -> list[dict[str, Any]]:
    """Of the questions that were asked at both ends; a resumed run may have been told others."""
    first = {(one["record"], one["prompt"]): one for one in read_samples(run_dir, 0)}
    return [
        {
            "question_id": last["record"],
            "question": last["prompt"],
            "before": first[key]["answer"],
            "after": last["answer"],
            "before_finish_reason": first[key]["finish_reason"],
            "after_finish_reason": last["finish_reason"],
        }
        for last in read_samples(run_dir, last_step)
        if (key := (last["record"], last["prompt"])) in first
    ]


def _perplexity(run_dir: Path, last_step: int) -> dict[str, Any] | None:
    """Of the held-out records, at both ends; None without such records."""
    loss: dict[int, float] = {}
    for line in (run_dir / "metrics.jsonl").read_text().splitlines():
        if '"eval_loss"' in line and line.endswith("}"):  # a kill may have cut the last one
            found = json.loads(line)
            loss[found["step"]] = found["eval_loss"]
    if 0 not in loss or last_step not in loss:
        return None
    used = json.loads((run_dir / "data.json").read_text())["validation"]["used"]
    return {
        "records": used,
        "before": perplexity_of(loss[0]),
        "after": perplexity_of(loss[last_step]),
    }


def _lines(
    last_step: int, answers: list[dict[str, Any]], perplexity: dict[str, Any] | None
) -> list[str]:
    lines = [f"before and after {last_step} steps:"]
    for answer in answers[:SHOWN]:
        lines.append(f"  {shown(answer['question'])}")
        for when in ("before", "after"):
            is_cut = answer[f"{when}_finish_reason"] == "length"
            lines.append(f"    {when:<7} {shown(answer[when], is_cut)}")
    if len(answers) > SHOWN:
        lines.append(f"  and {len(answers) - SHOWN} more in {FILE}")
    if not answers:
        lines.append("  nothing was asked both before the first step and after the last one")
    if perplexity is None:
        return [*lines, "no perplexity: data.validation holds out no records"]
    before, after = (
        "no finite number" if perplexity[when] is None else f"{perplexity[when]:,.4g}"
        for when in ("before", "after")
    )
    return [
        *lines,
        f"perplexity on {perplexity['records']:,} held-out records: {before} before, {after} after",
    ]


def shown(text: str, is_cut: bool = False) -> str:
    """The beginning of `text` in a line; models write anything, also what terminals obey."""
    line = "".join(one if one.isprintable() else "\ufffd" for one in " ".join(text.split()))
    is_cut = is_cut or len(line) > SHOWN_CHARACTERS
    return line[:SHOWN_CHARACTERS] + " …" * is_cut
