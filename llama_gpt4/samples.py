"""What the model answers while it trains: a few prompts at each evaluation, greedily.

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

if TYPE_CHECKING:
    from llama_gpt4.asked import Prompt
    from llama_gpt4.config import TrainConfig
    from llama_gpt4.examples import Prepared
    from llama_gpt4.ranks import Ranks


@dataclass(frozen=True)
class Sample:
    """A prompt and what the model made of it."""

    record: str
    """Where the prompt comes from: a record, or a question's id."""
    prompt: str
    answer: str
    """By the model as it is."""
    finish_reason: str
    """`stop`: the model ended it; `length`: it was cut."""
    reference: str | None
    """By the record; a question has none."""


def store_samples(run_dir: Path, step: int, samples: Sequence[Sample]) -> None:
    """Write `run_dir/samples/step-<n>.jsonl`, as a whole or not at all."""
    path = _file(run_dir, step)
    path.parent.mkdir(exist_ok=True)
    aside = path.with_suffix(".partial")
    lines = [json.dumps(asdict(sample), ensure_ascii=False) + "\n" for sample in samples]
    aside.write_text("".join(lines), encoding="utf-8")
    aside.replace(path)


def read_samples(run_dir: Path, step: int) -> list[dict[str, Any]]:
    """The samples of a step as `store_samples` wrote them; none where there was nothing to ask."""
    path = _file(run_dir, step)
    return [json.loads(line) for line in open(path, encoding="utf-8")] if path.exists() else []


def _file(run_dir: Path, step: int) -> Path:
    return run_dir / "samples" / f"step-{step}.jsonl"


class Sampler:
    """The prompts of a run, always the same ones, asked of an engine by all ranks."""

    def __init__(self, config: "TrainConfig", prepared: "Prepared", ranks: "Ranks") -> None:
        from llama_gpt4.tokenizer import Tokenizer

        self._prompts = prepared.asked.prompts
        self._tokenizer = Tokenizer.load(prepared.tokenizer_folder)
        self._eos_id = prepared.eos_id
        self._ranks = ranks
        # What fits into a micro-step of training fits without gradients all the more.
        tokens = config.batch.rows_per_micro_step * config.data.row_tokens
        longest = max(len(prompt.ids) + prompt.answer_tokens for prompt in self._prompts)
        self._at_once = max(1, tokens // longest)

    def __call__(self, engine: Any) -> list[Sample]:
        """The samples of all ranks in the order of their prompts, on every rank."""
        import torch.distributed as dist

        world_size = self._ranks.world_size
        mine: dict[int, Sample] = {}
        for first in range(0, len(self._prompts), self._at_once * world_size):
            last = min(first + self._at_once * world_size, len(self._prompts))
            chosen = range(first + self._ranks.rank, last, world_size)
            prompts = [self._prompts[i] for i in chosen]
            answers = greedy(engine, prompts, self._eos_id, self._ranks)
            mine |= {i: self._sample(i, ids) for i, ids in zip(chosen, answers, strict=True)}
        shares: list[dict[int, Sample]] = [{} for _ in range(world_size)]
        dist.all_gather_object(shares, mine)
        of = {i: sample for share in shares for i, sample in share.items()}
        return [of[i] for i in sorted(of)]

    def _sample(self, i: int, answer: list[int]) -> Sample:
        prompt = self._prompts[i]
        return Sample(
            record=prompt.record,
            prompt=prompt.text,
            answer=self._tokenizer.decode(answer, continuation=True),
            finish_reason="stop" if answer[-1:] == [self._eos_id] else "length",
            reference=prompt.reference,
        )


def greedy(
    engine: Any, prompts: "Sequence[Prompt]", eos_id: int, ranks: "Ranks"
) -> list[list[int]]:
    """The likeliest continuation of each of this rank's prompts, `eos_id` included where it ends.

    Other ranks may have other prompts, or none: each forward pass is run by all of them.
    """
    import torch

    from llama_gpt4.ranks import sum_over_ranks

    answers: list[list[int]] = [[] for _ in prompts]
    engine.eval()
    with torch.no_grad():
        while True:
            unfinished = [
                i
                for i, answer in enumerate(answers)
                if answer[-1:] != [eos_id] and len(answer) < prompts[i].answer_tokens
            ]
            if sum_over_ranks([float(len(unfinished))], ranks)[0] == 0:
                break
            # A rank that has nothing to ask runs the pass over one token.
            documents = [prompts[i].ids + answers[i] for i in unfinished] or [[eos_id]]
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
