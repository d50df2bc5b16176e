"""CPU seconds of the loss head, forward and backward: ours, and the whole logits in float32.

    python benchmarks/loss_head.py [--repeats 9]

Half of the tokens have no target, as prompts have none. The naive head multiplies every token and
ignores those losses; ours gets the rows that have a target. Both run in turns in this process, on
one thread, after their losses and gradients were found equal. CPU seconds rather than the clock:
they say the same on a busy machine.
"""

import argparse
import os
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path
from statistics import median

import torch
import torch.nn.functional as F
from llama_gpt4_kernels.linear_cross_entropy import linear_cross_entropy
from machine import commit, processor, versions, write_rows
from torch import Tensor
from train_cpu import LIBRARIES

HERE = Path(__file__).resolve().parent
GOAL = 0.4
"""Our CPU seconds as a share of the naive head's."""
LESSON = """What bounds us is three matrix products over the rows that have a target, half of the
naive head's: we save that half, and nearly all that the naive head does besides. At a vocabulary of
32,000 that is a third of its time, since each pass over its logits goes to memory. The tiny run's
logits stay in the cache, and there our products alone take about 0.4 of the naive head."""
SAMPLE_SECONDS = 0.5
"""A sample repeats its work to last about as long: the CPU clock is coarse."""


@dataclass(frozen=True)
class Size:
    """The loss head of one micro-batch."""

    name: str
    tokens: int
    hidden_size: int
    vocab_size: int


SIZES = (
    Size("the tiny run", 1024, 128, 2048),
    Size("benchmarks/train_cpu.py", 2048, 256, 32000),
)


@dataclass(frozen=True)
class Sample:
    """CPU seconds of one forward and backward pass."""

    size: str
    repeat: int
    naive: float
    ours: float
    products: float
    """Our three matrix products alone: what no loss head can save."""


class Problem:
    """Hidden states, weight, and labels (-100: no target) of which half are targets."""

    def __init__(self, size: Size) -> None:
        generator = torch.Generator().manual_seed(0)
        shape = (size.tokens, size.hidden_size)
        self.hidden = torch.randn(shape, generator=generator).requires_grad_()
        self.weight = torch.randn(size.vocab_size, size.hidden_size, generator=generator)
        self.weight.mul_(0.02).requires_grad_()
        self.labels = torch.randint(size.vocab_size, (size.tokens,), generator=generator)
        self.labels[torch.randperm(size.tokens, generator=generator)[: size.tokens // 2]] = -100
        # Ours learns these from the collator, which knows them without looking.
        self.rows = (self.labels != -100).nonzero().squeeze(1)
        self.targets = self.labels[self.rows]
        self.weights = torch.full((len(self.rows),), 1 / len(self.rows))

    def naive(self) -> Tensor:
        logits = F.linear(self.hidden, self.weight).float()
        loss = F.cross_entropy(logits, self.labels, ignore_index=-100)
        return self._with_gradients(loss)

    def ours(self) -> Tensor:
        hidden = self.hidden.index_select(0, self.rows)
        loss = linear_cross_entropy(hidden, self.weight, self.targets, self.weights)
        return self._with_gradients(loss)

    def products(self) -> None:
        with torch.no_grad():
            hidden = self.hidden[: len(self.rows)]
            logits = hidden @ self.weight.t()
            logits @ self.weight
            logits.t() @ hidden

    def assert_equal(self) -> None:
        """The loss and both gradients of the two heads agree to float32's accuracy."""
        found = []
        for head in (self.naive, self.ours):
            loss = head().detach()
            assert self.hidden.grad is not None and self.weight.grad is not None
            found.append((loss, self.hidden.grad, self.weight.grad))
        for one, other in zip(*found, strict=True):
            assert (one - other).abs().max() <= 1e-5 * one.abs().max(), (one, other)

    def _with_gradients(self, loss: Tensor) -> Tensor:
        self.hidden.grad = self.weight.grad = None
        loss.backward()
        return loss


def cpu_seconds(work: Callable[[], object], times: int) -> float:
    """Of one call of `work`, from `times` calls."""
    began = time.process_time()
    for _ in range(times):
        work()
    return (time.process_time() - began) / times


def measure(size: Size, repeats: int) -> list[Sample]:
    problem = Problem(size)
    problem.assert_equal()
    times = max(1, round(SAMPLE_SECONDS / cpu_seconds(problem.naive, 1)))
    samples = []
    for repeat in range(repeats):
        works = (problem.naive, problem.ours, problem.products)
        samples.append(Sample(size.name, repeat + 1, *(cpu_seconds(w, times) for w in works)))
        print(samples[-1], flush=True)
    return samples


def table(samples: list[Sample]) -> str:
    """Medians over the repeats; the ratio is the median of the ratios within a repeat."""
    lines = [
        "| micro-batch | naive, CPU ms | ours, CPU ms | ours / naive | our products alone |",
        "|---" * 5 + "|",
    ]
    for size in SIZES:
        mine = [sample for sample in samples if sample.size == size.name]
        shape = f"{size.tokens:,} tokens, hidden {size.hidden_size}, vocabulary {size.vocab_size:,}"
        naive, ours, products = (
            f"{1000 * median(getattr(sample, work) for sample in mine):.1f}"
            for work in ("naive", "ours", "products")
        )
        ratio = ratio_of(mine)
        lines.append(f"| {size.name}: {shape} | {naive} | {ours} | {ratio:.2f} | {products} |")
    return "\n".join(lines)


def ratio_of(samples: list[Sample]) -> float:
    return median(sample.ours / sample.naive for sample in samples)


def store(samples: list[Sample], lines: str, repeats: int, precision: str) -> None:
    """Every sample to results/loss_head.csv; the table, with what it was taken on, to .md."""
    folder = HERE / "results"
    write_rows(folder / "loss_head.csv", [asdict(sample) for sample in samples])
    text = f"""# The loss head on a CPU: half of the tokens have a target

Written by `python benchmarks/loss_head.py` on {date.today()}, commit {commit()}.
{processor()}, {os.cpu_count()} cores; {versions(sys.executable, *LIBRARIES)}.
Forward and backward in float32 at `float32_matmul_precision={precision}` on one thread; medians of
{repeats} interleaved repeats. Loss and gradients were found equal first.
The goal is a ratio of at most {GOAL}.

{lines}

{LESSON}
"""
    (folder / "loss_head.md").write_text(text)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--float32-matmul", default="medium", choices=("highest", "medium"))
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.set_float32_matmul_precision(options.float32_matmul)  # for both, as in training
    samples = [sample for size in SIZES for sample in measure(size, options.repeats)]
    lines = table(samples)
    print(lines)
    store(samples, lines, options.repeats, options.float32_matmul)


if __name__ == "__main__":
    main()
