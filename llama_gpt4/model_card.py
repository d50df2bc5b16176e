"""The card of a model, README.md in Hugging Face's format: what it was made from and how, what came
out, how to ask it, and under what licence and terms it may be used."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import yaml

from llama_gpt4.cards import TERMS, card_head, card_terms, table
from llama_gpt4.config import RunConfig
from llama_gpt4.errors import InputError
from llama_gpt4.frozen_config import FREE_KEYS, flatten, is_in
from llama_gpt4.licences import RESEARCH
from llama_gpt4.materials import Material
from llama_gpt4.prompt import render_prompt
from llama_gpt4.summary import read_summary

SHOWN = ("data", "batch", "loss", "optim", "schedule", "precision", "train", "zero")
"""Sections of the configuration that others need to repeat the training."""
ASKED = """```python
from transformers import AutoModelForCausalLM, AutoTokenizer

tokenizer = AutoTokenizer.from_pretrained("{repo}")
model = AutoModelForCausalLM.from_pretrained("{repo}")
question = [{{"role": "user", "content": "Name the capital city of Portugal."}}]
inputs = tokenizer.apply_chat_template(
    question, add_generation_prompt=True, return_tensors="pt", return_dict=True
)
output = model.generate(**inputs, max_new_tokens=256)
print(tokenizer.decode(output[0, inputs["input_ids"].shape[1] :], skip_special_tokens=True))
```

The chat template writes the prompt below, BOS included. A message may carry `input` beside
`content`, for what the instruction is about; later turns repeat the blocks."""

SCORED = """```python
from transformers import AutoModelForSequenceClassification, AutoTokenizer

tokenizer = AutoTokenizer.from_pretrained("{repo}")
model = AutoModelForSequenceClassification.from_pretrained("{repo}")
```

The one logit is the reward of a prompt in the frame below with an answer behind it. Only
differences between answers to the same prompt mean something."""

USE = {
    "answers": (
        "For research on instruction following: single instructions in the languages above, asked "
        "in the prompt that it was trained on. It has not been made safe. It states falsehoods "
        "with confidence, repeats what is biased or harmful in its data, and knows nothing of "
        "later events. Not for decisions about people, not for medical, legal or financial advice, "
        "nor for anything where nobody checks what it says."
    ),
    "rewards": (
        "For research on ranking answers to an instruction. It has learnt one judge's taste and "
        "the shortcuts in its data, such as length. Not for judging people, and not a measure of "
        "truth or safety."
    ),
}


@dataclass(frozen=True, kw_only=True)
class Named:
    """What the user says of a model beyond its run."""

    repo: str
    licence: str
    base_model: str | None
    datasets: Sequence[str]


def model_card(
    named: Named, run_dir: Path, config: RunConfig, materials: Sequence[Material]
) -> str:
    """The text of README.md."""
    kind = "rewards" if config.program == "reward" else "answers"
    parts = [
        f"---\n{_head(named, config, materials)}---",
        f"# {named.repo.rpartition('/')[2]}",
        _what(config, materials),
        f"## Made from\n\n{_made_from(materials)}",
        f"## The records\n\n{table(('what', 'number'), _records(run_dir))}",
        f"## How it was trained\n\n{table(('key', 'value'), _settings(config))}\n\n"
        f"`llama-gpt4 {config.program} --help` explains the keys.",
        f"## What came out\n\n{table(('what', 'value'), _figures(run_dir))}",
        f"## How to ask it\n\n{_asked(named.repo, kind)}",
        f"## Use and limits\n\n{USE[kind]}",
        f"{TERMS}\n\n{_terms(named, materials)}",
    ]
    return "\n\n".join(parts) + "\n"


def require_card(path: Path, licence: str, materials: Sequence[Material]) -> None:
    """Refuse a card that was there before, unless it says what ours would of licence and terms."""
    card = path.read_text(encoding="utf-8", errors="replace")
    again = "change it, or delete it to have it written anew"
    if card_head(card).get("license") != licence:
        raise InputError(f"{path} does not say `license: {licence}` in its head: {again}")
    terms = card_terms(card)
    lacking = [m.name for m in materials if not all(x in terms for x in (m.name, *m.licences))]
    if lacking:
        raise InputError(
            f"{path} does not say below `{TERMS}` under which licence {lacking[0]} is: {again}"
        )


def _head(named: Named, config: RunConfig, materials: Sequence[Material]) -> str:
    rewards = config.program == "reward"
    head: dict[str, Any] = {
        "license": named.licence,
        "language": list(dict.fromkeys(name for m in materials for name in m.languages)),
        "base_model": named.base_model,
        "datasets": list(named.datasets),
        "library_name": "transformers",
        "pipeline_tag": "text-classification" if rewards else "text-generation",
        "tags": ["llama-gpt4", "reward-model" if rewards else "instruction-tuning"],
    }
    kept = {key: value for key, value in head.items() if value}
    return yaml.safe_dump(kept, allow_unicode=True, sort_keys=False)


def _what(config: RunConfig, materials: Sequence[Material]) -> str:
    bases = [material.name for material in materials if not material.is_data]
    begun = "random weights" if config.model.path is None else "an earlier run's model"
    if bases:
        begun = bases[-1]
    return f"Trained by `llama-gpt4 {config.program}` ({config.name}), begun from {begun}."


def _made_from(materials: Sequence[Material]) -> str:
    rows = [
        (m.name, "data" if m.is_data else "base model", ", ".join(m.licences), m.sha256 or "")
        for m in materials
    ]
    return table(("name", "as", "licence", "SHA-256"), rows)


def _records(run_dir: Path) -> list[tuple[str, Any]]:
    """The numbers of `data.json` and what became of each file; counts of nothing are left out."""
    path = run_dir / "data.json"
    try:
        report = dict(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise InputError(f"{path} cannot be read ({error}): it is a part of a run") from error
    rows: list[tuple[str, Any]] = []
    for key, value in flatten(report):
        if key.endswith("sources"):
            rows += [
                (f"{key}: {_without_folders(source['file'])}", f"{source['used']:,} used")
                for source in value
            ]
        elif isinstance(value, int | float) and value:
            rows.append((key, value if isinstance(value, int) else _shown(value)))
    return rows


def _settings(config: RunConfig) -> list[tuple[str, Any]]:
    values = asdict(config)
    shown = {key: values[key] for key in SHOWN if key in values} | {"seed": config.seed}
    return [
        (key, _without_folders(value))
        for key, value in flatten(shown)
        if not is_in(key, FREE_KEYS) and value not in (None, {}, [])
    ]


def _without_folders(value: Any) -> Any:
    """A path's last part: where it lay on somebody's disk is nobody's business."""
    if isinstance(value, list):
        return [_without_folders(each) for each in value]
    return Path(value).name if isinstance(value, str) and Path(value).is_absolute() else value


def _figures(run_dir: Path) -> list[tuple[str, Any]]:
    """Losses of the first and last step, of the last evaluation, and the run's summary."""
    path = run_dir / "metrics.jsonl"
    try:
        lines = [json.loads(line) for line in path.read_text().splitlines() if line[-1:] == "}"]
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read ({error}): it is a part of a run") from error
    trained = [line for line in lines if "loss" in line]
    evaluated = [line for line in lines if "eval_loss" in line]
    if not trained:
        raise InputError(f"{path} has no line of a step: name the directory of a run that trained")
    first, last = trained[0], trained[-1]
    rows = [
        ("steps", last["step"]),
        ("epochs", f"{last['epoch']:.2f}"),
        ("loss of the first step", _shown(first["loss"])),
        ("loss of the last step", _shown(last["loss"])),
    ]
    if evaluated:
        losses = [line["eval_loss"] for line in evaluated]
        rows.append(("loss on held-out records, at the end", _shown(losses[-1])))
        rows.append(("the same at its best", _shown(min(losses))))
    summary = read_summary(run_dir)
    scalars = summary.scalars if summary else {}
    return [*rows, *((key, _shown(value)) for key, value in scalars.items())]


def _asked(repo: str, kind: str) -> str:
    frames = "\n\n".join(
        f"~~~text\n{render_prompt('{instruction}', input)}\n~~~" for input in ("", "{input}")
    )
    return f"{(SCORED if kind == 'rewards' else ASKED).format(repo=repo)}\n\n{frames}"


def _terms(named: Named, materials: Sequence[Material]) -> str:
    lines = [f"- This model: {named.licence}, and whatever binds by what it was made from:"]
    for material in materials:
        said = ", ".join(f"{n} ({RESEARCH[n]})" if n in RESEARCH else n for n in material.licences)
        lines.append(f"- {material.name}: {said}.")
        lines += [
            f"  {line}" if line.startswith("- ") else f"  - {line}"
            for line in material.terms.splitlines()
            if line.strip()
        ]
    lines.append(
        "- The program that made it, llama-gpt4, is under Apache-2.0, which says nothing about the "
        "model."
    )
    return "\n".join(lines)


def _shown(value: float) -> str:
    return f"{value:.4f}"
