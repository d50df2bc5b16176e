"""What the model answers while it trains: a few validation prompts at each evaluation, greedily.

All ranks take part, since ZeRO-3 gathers each layer for all of them at once: they share the prompts
out, and run as many forward passes as the longest answer takes. Nothing is kept between tokens, so
that no operator of training needs a second form; the answers are few and short.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import accumulate, chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from llama_gpt4.config import TrackingConfig

if TYPE_CHECKING:
    from llama_gpt4.examples import Examples, Prepared
    from llama_gpt4.ranks import Ranks


@dataclass(frozen=True)
class Sample:
    record: str
    """Where the prompt comes from."""
    prompt: str
    answer: str
    """By the model as it is."""
    reference: str
    """By the record."""


def store_samples(run_dir: Path, step: int, samples: Sequence[Sample]) -> None:
    """Write `run_dir/samples/step-<n>.jsonl`, as a whole or not at all."""
    path = _file(run_dir, step)
    path.parent.mkdir(exist_ok=True)
    aside = path.with_suffix(".partial")
    lines = [json.dumps(asdict(sample), ensure_ascii=False) + "\n" for sample in samples]
    aside.write_text("".join(lines), encoding="utf-8")
    aside.replace(path)


def read_samples(run_dir: Path, step: int) -> list[dict[str, str]]:
    """The samples of a step as `store_samples` wrote them; none where there was nothing to ask."""
    path = _file(run_dir, step)
    return [json.loads(line) for line in open(path, encoding="utf-8")] if path.exists() else []


def _file(run_dir: Path, step: int) -> Path:
    return run_dir / "samples" / f"step-{step}.jsonl"


class Sampler:
    """The first validation examples, always the same ones, asked of an engine by all ranks."""

    def __init__(self, prepared: "Prepared", tracking: TrackingConfig, ranks: "Ranks") -> None:
        from llama_gpt4.tokenizer import Tokenizer

        assert prepared.validation is not None
        self._examples: Examples = prepared.validation
        self._tokenizer = Tokenizer.load(prepared.tokenizer_folder)
        self._eos_id = prepared.eos_id
        self._max_tokens = tracking.sample_tokens
        self._ranks = ranks
        self._mine = range(ranks.rank, min(tracking.samples, self._examples.n), ranks.world_size)

    def __call__(self, engine: Any) -> list[Sample]:
        """The samples of all ranks in the order of their examples, on every rank."""
        import torch.distributed as dist

        prompts = [self._ids(i)[: self._examples.prompt_lengths[i]].tolist() for i in self._mine]
        answers = greedy(engine, prompts, self._eos_id, self._max_tokens, self._ranks)
        mine = {i: self._sample(i, answer) for i, answer in zip(self._mine, answers, strict=True)}
        shares: list[dict[int, Sample]] = [{} for _ in range(self._ranks.world_size)]
        dist.all_gather_object(shares, mine)
        of = {i: sample for share in shares for i, sample in share.items()}
        return [of[i] for i in sorted(of)]

    def _sample(self, i: int, answer: list[int]) -> Sample:
        n_prompt, ids = int(self._examples.prompt_lengths[i]), self._ids(i)
        return Sample(
            record=self._examples.record_name(i),
            prompt=self._tokenizer.decode(ids[:n_prompt].tolist()),
            answer=self._tokenizer.decode(answer, continuation=True),
            reference=self._tokenizer.decode(ids[n_prompt:].tolist(), continuation=True),
        )

    def _ids(self, i: int) -> np.ndarray[Any, Any]:
        return self._examples.tokens_of(i)


def greedy(
    engine: Any, prompts: list[list[int]], eos_id: int, max_tokens: int, ranks: "Ranks"
) -> list[list[int]]:
    """The likeliest continuation of each of this rank's prompts, `eos_id` included where it ends.

    Other ranks may have other prompts, or none: each forward pass is run by all of them.
    """
    import torch

    from llama_gpt4.ranks import sum_over_ranks

    answers: list[list[int]] = [[] for _ in prompts]
    engine.eval()
    with torch.no_grad():
        for _ in range(max_tokens):
            unfinished = [i for i, answer in enumerate(answers) if answer[-1:] != [eos_id]]
            if sum_over_ranks([float(len(unfinished))], ranks)[0] == 0:
                break
            # A rank that has nothing to ask runs the pass over one token.
            documents = [prompts[i] + answers[i] for i in unfinished] or [[eos_id]]
            lengths = tuple(len(document) for document in documents)
            logits = engine(  # (documents, V): of each one's last token
                torch.tensor([*chain(*documents)], device=ranks.device),
                torch.tensor([*chain(*map(range, lengths))], device=ranks.device),
                lengths,
                torch.tensor([*accumulate(lengths)], device=ranks.device) - 1,
            )
            for i, token in zip(unfinished, logits.argmax(-1).tolist(), strict=False):
                answers[i].append(token)
    engine.train()
    return answers
