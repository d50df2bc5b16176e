"""One preparation from JSON to packed rows, for `prepare.py`: ours, TRL's way or LLaMA-Factory's.

    python prepare_run.py SIDE RECORDS TOKENIZER FOLDER ROW_TOKENS PROCESSES

It prints a JSON line of what it took and what came of it. Imports are not counted, all else is.
TRL's way is TRL's own `SFTTrainer._prepare_dataset`, behind a map that renders prompts.
LLaMA-Factory cannot be installed beside a current transformers, so its way is the calls of its
0.9.5 on `datasets` and on the tokenizer, as its `data/loader.py`, `converter.py`, `template.py` and
`processor/supervised.py` make them, over the same texts.
"""

import json
import os
import resource
import sys
import time
from bisect import bisect
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from datasets import Dataset

IGNORED = -100
FACTORY_BATCH = 1000
"""LLaMA-Factory's `preprocessing_batch_size`, within which it packs."""


@dataclass(frozen=True)
class Task:
    """What to prepare."""

    records: str
    tokenizer: str
    folder: Path
    """For caches."""
    row_tokens: int
    processes: int
    """Of `datasets`; ours starts as many as it has cores. With 0 ours has to be in the cache."""

    @property
    def num_proc(self) -> int | None:
        """None, which is what both call by default, starts no other process."""
        return self.processes if self.processes > 1 else None


def ours(task: Task) -> dict[str, Any]:
    """`prepare` and the packing of its rows; without processes from the cache."""
    if task.processes:
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: task.processes])
    from llama_gpt4.compose import training_config

    keep = [f"data.policy.{rule}=keep" for rule in ("duplicate", "same_prompt", "cut_start")]
    config = training_config(
        [
            f"data.files=[{task.records}]",
            f"tokenizer.path={task.tokenizer}",
            f"data.cache_dir={task.folder}",
            f"run_dir={task.folder / 'run'}",
            f"data.row_tokens={task.row_tokens}",
            *keep,
        ]
    )
    import numpy as np

    from llama_gpt4.packing import best_fit
    from llama_gpt4.prepare import prepare

    if task.processes:
        import llama_gpt4.parts
        import llama_gpt4.tokenizer  # noqa: F401

    start = _now()
    train = prepare(config).train
    rows = best_fit(train.lengths, config.data.row_tokens, np.arange(train.n))
    taken = _since(start)
    assert task.processes or "tokenizers" not in sys.modules
    return taken | {
        "tokens": int(train.lengths.sum()),
        "rows": len(rows),
        "fill": rows.fill_frac(train.lengths, config.data.row_tokens),
    }


def trl(task: Task) -> dict[str, Any]:
    """As `SFTTrainer` prepares and packs its data set."""
    from transformers import AutoTokenizer
    from trl import SFTConfig, SFTTrainer

    config = SFTConfig(
        output_dir=str(task.folder),
        max_length=task.row_tokens,
        packing=True,
        dataset_num_proc=task.num_proc,
        use_cpu=True,
        bf16=False,
        report_to="none",
    )
    import datasets  # noqa: F401

    start = _now()
    tokenizer = AutoTokenizer.from_pretrained(task.tokenizer)
    records = _load(task)
    texts = records.map(
        _prompt_and_completion,
        batched=True,
        remove_columns=records.column_names,
        num_proc=task.num_proc,
    )
    # All that the method asks of a trainer; a whole one would need a model.
    trainer: Any = SimpleNamespace(
        _tokenizer=tokenizer, chat_template=None, completion_only_loss=True
    )
    packed = SFTTrainer._prepare_dataset(trainer, texts, tokenizer, config, True, None, "train")
    taken = _since(start)
    tokens = sum(map(sum, packed["seq_lengths"]))
    fill = tokens / len(packed) / task.row_tokens
    return taken | {"tokens": tokens, "rows": len(packed), "fill": fill}


def llama_factory(task: Task) -> dict[str, Any]:
    """As LLaMA-Factory 0.9.5 calls `datasets.map`, with its greedy packing."""
    from transformers import AutoTokenizer

    start = _now()
    tokenizer = AutoTokenizer.from_pretrained(task.tokenizer)
    records = _load(task)
    aligned = records.map(
        _aligned,
        batched=False,
        remove_columns=records.column_names,
        num_proc=task.num_proc,
        load_from_cache_file=True,
        desc="Converting format of dataset",
    )
    packed = aligned.map(
        _packed,
        batched=True,
        batch_size=FACTORY_BATCH,
        remove_columns=aligned.column_names,
        num_proc=task.num_proc,
        load_from_cache_file=True,
        desc="Running tokenizer on dataset",
        fn_kwargs={"tokenizer": tokenizer, "row_tokens": task.row_tokens},
    )
    taken = _since(start)
    tokens = sum(sum(mask) for mask in packed.with_format("numpy")["attention_mask"])
    fill = tokens / len(packed) / task.row_tokens
    return taken | {"tokens": int(tokens), "rows": len(packed), "fill": float(fill)}


def _load(task: Task) -> "Dataset":
    from datasets import load_dataset

    return load_dataset(
        "json", data_files=task.records, split="train", cache_dir=str(task.folder / "datasets")
    )


def _prompt_and_completion(batch: dict[str, list[str]]) -> dict[str, list[str]]:
    from llama_gpt4.prompt import render_prompt

    asked = zip(batch["instruction"], batch["input"], strict=True)
    return {"prompt": [render_prompt(*each) for each in asked], "completion": batch["output"]}


def _aligned(record: dict[str, str]) -> dict[str, Any]:
    from llama_gpt4.prompt import WITH_INPUT, WITHOUT_INPUT, render_prompt

    prompt = render_prompt(record["instruction"], record["input"])
    system = WITH_INPUT if record["input"] else WITHOUT_INPUT
    return {
        "_prompt": [{"role": "user", "content": prompt.removeprefix(system)}],
        "_response": [{"role": "assistant", "content": record["output"]}],
        "_system": system,
        "_tools": "",
        "_images": None,
        "_videos": None,
        "_audios": None,
    }


def _packed(batch: dict[str, list[Any]], tokenizer: Any, row_tokens: int) -> dict[str, list[Any]]:
    """Rows of a batch, padded to one token more than `row_tokens`. Padding is masked, which is not
    so with them, so that tokens can be counted."""
    examples: list[tuple[list[int], list[int]]] = []
    by_length = defaultdict(list)
    for prompt, response, system in zip(
        batch["_prompt"], batch["_response"], batch["_system"], strict=True
    ):
        source = [tokenizer.bos_token_id]
        for text in (system, prompt[0]["content"]):
            source += tokenizer.encode(text, add_special_tokens=False)
        target = tokenizer.encode(response[0]["content"], add_special_tokens=False)
        target += [tokenizer.eos_token_id]
        if len(source) + len(target) <= row_tokens:
            by_length[len(source) + len(target)].append(len(examples))
            examples.append((source + target, [IGNORED] * len(source) + target))
    rows = defaultdict(list)
    for lengths in _knapsacks([len(ids) for ids, _ in examples], row_tokens):
        row = [examples[by_length[length].pop()] for length in lengths]
        n_padding = row_tokens + 1 - sum(lengths)
        ids = [id for ids, _ in row for id in ids]
        labels = [label for _, labels in row for label in labels]
        positions = [place for ids, _ in row for place in range(len(ids))]
        rows["input_ids"].append(ids + [tokenizer.pad_token_id] * n_padding)
        rows["attention_mask"].append([1] * len(ids) + [0] * n_padding)
        rows["position_ids"].append(positions + [0] * n_padding)
        rows["labels"].append(labels + [IGNORED] * n_padding)
        for kind in ("images", "videos", "audios"):
            rows[kind].append(None)
    return rows


def _knapsacks(lengths: list[int], room: int) -> list[list[int]]:
    """Rows that take the longest that still fits, one after the other."""
    lengths = sorted(lengths)
    rows = []
    while lengths:
        row: list[int] = []
        while place := bisect(lengths, room - sum(row)):
            row.append(lengths.pop(place - 1))
        rows.append(row)
    return rows


def _now() -> tuple[float, float]:
    """The clock, and the CPU seconds of this process and of those that it waited for."""
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return time.perf_counter(), sum(usage.ru_utime + usage.ru_stime for usage in usages)


def _since(start: tuple[float, float]) -> dict[str, float]:
    end = _now()
    return {"seconds": end[0] - start[0], "cpu_seconds": end[1] - start[1]}


SIDES = {"ours": ours, "TRL": trl, "LLaMA-Factory": llama_factory}

if __name__ == "__main__":
    side, records, tokenizer, folder, row_tokens, processes = sys.argv[1:]
    task = Task(records, tokenizer, Path(folder), int(row_tokens), int(processes))
    print(json.dumps(SIDES[side](task)))
