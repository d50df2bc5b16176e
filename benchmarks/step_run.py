"""One run of `step.py` in a process of its own: a model, a side, a recompute policy.

Prints a JSON line. A *stack* is forward and backward of a few layers of a size, with embedding and
loss head; a *step* is a whole optimizer step of the whole model under DeepSpeed ZeRO-3 in one
process. Both sides get the same weights and the same packed documents, and attend by the same
kernel, which transformers is lent: what is compared is everything else.
"""

import json
import os
import random
import sys
import time
import zlib
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import partial
from statistics import median
from typing import Any

IS_SMOKE = "--smoke" in sys.argv
if IS_SMOKE:
    os.environ["TRITON_INTERPRET"] = "1"  # read when triton is imported

import torch  # noqa: E402
from torch import Tensor, nn  # noqa: E402

from llama_gpt4.architecture import LlamaConfig, from_sizes, model_flops  # noqa: E402
from llama_gpt4.compose import compose_training  # noqa: E402
from llama_gpt4.config import TrainConfig  # noqa: E402

LENGTHS = (48, 71, 96, 118, 139, 160, 184, 207, 231, 256, 284, 316, 352, 398, 471, 592, 711)
"""Of documents, in equal parts: a mean of 272 tokens, as in the English data of GPT-4-LLM."""
PROMPT_FRAC = 0.28
"""Of the tokens of a document: they are no targets."""
IGNORED = -100
VOCAB_SIZE = 32000
WARMUP_STEPS, STEPS = 3, 7
SMOKE_SIZES = (
    "model.n_layers=2",
    "model.hidden_size=32",
    "model.feed_forward_size=48",
    "model.n_heads=2",
    "model.n_kv_heads=2",
)


@dataclass(frozen=True)
class Run:
    kind: str
    """`stack` or `step`."""
    model: str
    """A file of conf/model."""
    n_layers: int | None
    """None: all of them."""
    side: str
    """`ours`, `transformers`, or `transformers + liger`."""
    recompute: str
    """For transformers `none` or `full`, which is its gradient checkpointing."""
    tokens: int


@dataclass(frozen=True)
class Result:
    tokens_per_second: float
    mfu: float | None
    """Without what is computed again, and without rows that have no target after the last
    attention, whoever computes them."""
    peak_gib: float
    step_seconds: float
    first_loss: float


@dataclass(frozen=True)
class Batch:
    """Documents end to end; see `llama_gpt4.batches.Batch`."""

    tokens: Tensor
    positions: Tensor
    lengths: tuple[int, ...]
    target_rows: Tensor

    @property
    def targets(self) -> Tensor:
        return self.tokens[self.target_rows + 1]

    def weights(self) -> Tensor:
        return torch.full((len(self.target_rows),), 1 / len(self.target_rows))

    def labels(self) -> Tensor:
        """As transformers wants them: it shifts them itself."""
        labels = torch.full_like(self.tokens, IGNORED)
        labels[self.target_rows + 1] = self.targets
        return labels


def draw_batch(n_tokens: int, vocab_size: int, seed: int) -> Batch:
    """Random tokens in documents of the lengths of real ones, the same for the same `seed`."""
    dice = random.Random(seed)
    lengths: list[int] = []
    while (left := n_tokens - sum(lengths)) > 0:
        lengths.append(min(left, dice.choice(LENGTHS)))
    rows: list[int] = []
    start = 0
    for length in lengths:
        prompt = max(1, int(PROMPT_FRAC * length))
        rows += range(start + prompt - 1, start + length - 1)
        start += length
    return Batch(
        tokens=torch.randint(
            vocab_size, (n_tokens,), generator=torch.Generator().manual_seed(seed)
        ),
        positions=torch.cat([torch.arange(length) for length in lengths]),
        lengths=tuple(lengths),
        target_rows=torch.tensor(rows),
    )


class SeededWeights:
    """Normal values that follow from a parameter's name, made where the parameter is."""

    def __init__(self, std: float) -> None:
        self._std = std

    def fill(self, name: str, start: int, target: Tensor) -> None:
        assert start == 0, "one process holds whole parameters"
        if name.endswith("norm.weight"):
            target.fill_(1)
            return
        generator = torch.Generator(target.device).manual_seed(zlib.crc32(name.encode()))
        target.normal_(0, self._std, generator=generator)


def configuration(run: Run) -> TrainConfig:
    """Ours for this run; the rival takes its sizes, dtype and ZeRO settings from it."""
    overrides = [
        f"model={run.model}",
        "model.path=null",
        f"model.recompute={run.recompute}",
        "model.kernels=fused",
        f"model.attention={'sdpa' if IS_SMOKE else 'varlen'}",
        f"precision.dtype={'float32' if IS_SMOKE else 'bfloat16'}",
        f"launch.device={'cpu' if IS_SMOKE else 'cuda'}",
        "tracking=none",
        "optim.lr=1e-5",
        "batch.rows_per_micro_step=1",
        "batch.tokens_per_step=512",  # one micro-step a step: nothing to sum, 16 bytes a parameter
    ]
    return compose_training([*overrides, *(SMOKE_SIZES if IS_SMOKE else ())])


def measure(run: Run) -> Result:
    """Medians over the steps after the warm-up."""
    config = configuration(run)
    vocab_size = 128 if IS_SMOKE else VOCAB_SIZE
    architecture = from_sizes(config.model, vocab_size)
    if run.n_layers is not None:
        architecture = replace(architecture, n_layers=run.n_layers)
    device = torch.device("cpu" if IS_SMOKE else "cuda")
    train_on = (stack if run.kind == "stack" else whole_step)(run, config, architecture, device)
    seconds, losses = [], []
    warmup, steps = (1, 1) if IS_SMOKE else (WARMUP_STEPS, STEPS)
    batches = [draw_batch(run.tokens, vocab_size, seed) for seed in range(warmup + steps)]
    for number, batch in enumerate(batches):
        if number == warmup and device.type == "cuda":
            torch.cuda.reset_peak_memory_stats()
        began = time.perf_counter()
        losses.append(float(train_on(batch)))
        if device.type == "cuda":
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - began)
    from llama_gpt4.metrics import peak_flops, peak_memory_bytes

    taken = median(seconds[warmup:])
    squared = median(sum(n * n for n in batch.lengths) for batch in batches)
    targets = median(len(batch.target_rows) for batch in batches)
    flops = model_flops(architecture, run.tokens, int(squared), int(targets))
    peak = peak_flops(device)
    return Result(
        tokens_per_second=run.tokens / taken,
        mfu=peak and flops / taken / peak,
        peak_gib=peak_memory_bytes(device) / 2**30,
        step_seconds=taken,
        first_loss=losses[0],
    )


TrainOn = Callable[[Batch], Tensor]


def stack(
    run: Run, config: TrainConfig, architecture: LlamaConfig, device: torch.device
) -> TrainOn:
    """Forward and backward; gradients are new each time, as under ZeRO."""
    from llama_gpt4.engine import DTYPES, operators
    from llama_gpt4.model import Llama

    ops = operators(config, device)
    with torch.device(device):
        before = torch.get_default_dtype()
        torch.set_default_dtype(DTYPES[config.precision.dtype])
        if run.side == "ours":
            model: nn.Module = Llama(architecture, ops, run.recompute)
        else:
            model = transformers_model(run, config, architecture, ops)
        torch.set_default_dtype(before)
    weights = SeededWeights(architecture.initializer_std)
    for name, parameter in model.named_parameters():
        weights.fill(name, 0, parameter.data.view(-1))
    loss_of = partial(our_loss if run.side == "ours" else their_loss, model, ops, device)

    def train_on(batch: Batch) -> Tensor:
        loss = loss_of(batch)
        loss.backward()
        model.zero_grad(set_to_none=True)
        return loss.detach()

    return train_on


def whole_step(
    run: Run, config: TrainConfig, architecture: LlamaConfig, device: torch.device
) -> TrainOn:
    """Forward, backward and update of the whole model under ZeRO-3, in one process."""
    from llama_gpt4.ranks import join

    ranks = join(config.launch)
    import deepspeed

    from llama_gpt4 import engine as engines
    from llama_gpt4 import zero_state
    from llama_gpt4.deepspeed_config import deepspeed_config

    ops = engines.operators(config, device)
    weights = SeededWeights(architecture.initializer_std)
    if run.side == "ours":
        engine = engines.build_engine(config, architecture, weights, ranks)
    else:
        # Imported later, while zero.Init watches over new tensors, it fails (torch 2.13).
        import torch._dynamo

        settings = deepspeed_config(config, architecture.hidden_size, ranks.world_size)
        with torch.device(device), deepspeed.zero.Init(config_dict_or_path=settings):
            model = transformers_model(run, config, architecture, ops)
        for name, start, values in zero_state.local_slices(model):
            weights.fill(name, start, values)
        optimizer = torch.optim.AdamW(model.parameters(), lr=config.optim.lr, fused=True)
        engine, *_ = deepspeed.initialize(
            model=model, optimizer=optimizer, config=settings, dist_init_required=False
        )
    loss_of = partial(our_loss if run.side == "ours" else their_loss, engine, ops, device)

    def train_on(batch: Batch) -> Tensor:
        engine.set_gradient_accumulation_boundary(True)
        loss = loss_of(batch)
        engine.backward(loss)
        engine.step()
        return loss.detach()

    return train_on


def our_loss(model: Any, ops: Any, device: torch.device, batch: Batch) -> Tensor:
    return model(
        batch.tokens.to(device),
        batch.positions.to(device),
        batch.lengths,
        batch.target_rows.to(device),
        batch.targets.to(device),
        batch.weights().to(device),
    )


def their_loss(model: Any, ops: Any, device: torch.device, batch: Batch) -> Tensor:
    Documents.planned = ops.plan_attention(batch.lengths, device)
    out = model(
        input_ids=batch.tokens.to(device).unsqueeze(0),
        position_ids=batch.positions.to(device).unsqueeze(0),
        labels=batch.labels().to(device).unsqueeze(0),
        use_cache=False,
    )
    return out.loss


class Documents:
    """Where the documents of the batch at hand begin: transformers has no way to hand that on."""

    planned: Any = None


def transformers_model(
    run: Run, config: TrainConfig, architecture: LlamaConfig, ops: Any
) -> nn.Module:
    """Hugging Face's LLaMA, patched by Liger where the side says so, attending by our operator."""
    import transformers

    def attend(
        module: nn.Module, query: Tensor, key: Tensor, value: Tensor, mask: Any, **_: Any
    ) -> tuple[Tensor, None]:
        q, k, v = (x.squeeze(0).transpose(0, 1) for x in (query, key, value))  # (N, H, K)
        return ops.attention(q, k, v, Documents.planned).unsqueeze(0), None

    transformers.AttentionInterface.register("documents", attend)
    if "liger" in run.side:
        from liger_kernel.transformers import apply_liger_kernel_to_llama

        apply_liger_kernel_to_llama()
    described = architecture.to_hugging_face(
        config.precision.dtype, bos_id=1, eos_id=2, pad_id=None
    )
    settings = transformers.LlamaConfig(**described)
    settings._attn_implementation = "documents"
    model = transformers.LlamaForCausalLM(settings).train()
    if run.recompute == "full":
        model.gradient_checkpointing_enable({"use_reentrant": False})
    return model


if __name__ == "__main__":
    print(json.dumps(asdict(measure(Run(**json.loads(sys.argv[1]))))), flush=True)
