"""What one GPU and its host hold. State is exact; all else is an estimate by the formulas here.

N parameters on W processes, H of them on one host; bytes a parameter, on one GPU:

    stage   dtype      weights      gradients       master   moments
    0       float32    4            4               -        8
    1       float32    4            4               4/W      8/W
    2       float32    4            4/W*            4/W      8/W
    3       float32    4/W          4/W             4/W      8/W
    1       bfloat16   2            2 + 4           4/W      8/W
    2       bfloat16   2            4/W             4/W      8/W
    3       bfloat16   2/W          4/W, or 2/W**   4/W      8/W

* the whole of every parameter that reaches into the part of this GPU; ** where a step is a single
micro-step. hpZ adds a second copy of 2/H (float32: 4/H) of the weights. ZeRO-3 rounds each
parameter up to W equal parts and keeps the whole of every small one as well; stages 1 and 2 round
matrices and vectors up to 2 W elements.

Offloading moves master weights and moments to the host, with 4/W more there for float32 gradients
on their way to AdamW. Under stage 3 the gradients move as well. Under stages 1 and 2 the host also
holds the updated part in the weights' dtype, and it and the GPU a buffer for the largest parameter.
Stage 1 keeps gradients of 4 bytes on the GPU; stage 2 keeps 4/W there in bfloat16, and in float32
gathers 4/W* on the host (not where a step is a single micro-step: counted all the same).
"""

import math
from bisect import bisect_left, bisect_right
from dataclasses import dataclass, replace
from itertools import accumulate

from llama_gpt4_launch.plan_case import GIB, Case

LOGIT_CHUNK_BYTES = 512 * 2**20
"""`CUDA_CHUNK_BYTES` of the loss head, which imports torch."""
ALL_REDUCE_ELEMENTS = 500_000_000
"""What DeepSpeed copies at a time to reduce the gradients of stage 0, and of 1 in bfloat16."""
PROCESS_BYTES = 4 * GIB
"""Of the host: Python, torch and CUDA's mappings in one process. An assumption."""
CHECKPOINT_BYTES = 12
"""A parameter's master weight and moments in float32."""


@dataclass(frozen=True, kw_only=True)
class State:
    """Bytes on one GPU between two micro-steps, all in use; `host` is beside it on its host."""

    weights: int
    gradients: int
    master: int
    moments: int
    host: int

    @property
    def total(self) -> int:
        return self.weights + self.gradients + self.master + self.moments


@dataclass(frozen=True, kw_only=True)
class Memory:
    """Bytes on one GPU at its fullest, by what they hold."""

    state: State
    buckets: int
    gathered: int
    """ZeRO-3: whole parameters that are in use, fetched early or needed again soon."""
    activations: int
    """Kept for the backward pass, by `model.recompute`."""
    working: int
    """Of one layer in its backward pass: gradients of activations, and what is computed again."""
    logits: int
    """A chunk of them, and the gradient of the head's weight."""
    in_flight: int
    """Gradients that are made and reduced before they are added up."""
    update: int
    """Copies that the update makes, at a time when activations are gone."""
    fragmentation: int
    context: int

    @property
    def in_pass(self) -> int:
        """In a forward and backward pass, beside state and buckets."""
        return self.gathered + self.activations + self.working + self.logits + self.in_flight

    @property
    def total(self) -> int:
        held = self.state.total + self.buckets + max(self.in_pass, self.update)
        return held + self.fragmentation + self.context


def state_bytes(case: Case) -> State:
    """What training keeps on one GPU and its host, by the table above, with all rounding."""
    zero, world, item = case.config.zero, case.hardware.world_size, case.item_bytes
    if zero.stage == 3:
        return _sharded_state(case)
    align = 2 * world if zero.stage > 0 else 1
    whole = sum(math.ceil(sum(group) / align) * align for group in (case.matrices, case.vectors))
    own = whole // world if zero.stage > 0 else whole
    gradients = (6 if zero.stage == 1 and item == 2 else 4) * whole
    if zero.stage == 2:
        gradients = 4 * (own if item == 2 else _touched(case))
    master = 4 * own if zero.stage > 0 else 0
    if not zero.offload_optimizer:
        return State(
            weights=item * whole, gradients=gradients, master=master, moments=8 * own, host=0
        )
    return _offloaded_state(case, whole, own)


def _offloaded_state(case: Case, whole: int, own: int) -> State:
    """Under stages 1 and 2, of `whole` elements in all and `own` of this GPU."""
    item, is_stage_1 = case.item_bytes, case.config.zero.stage == 1
    on_the_way = item * max(case.numels)
    gradients = 4 * whole if is_stage_1 else 4 * own if item == 2 else 0
    gathered = 0 if is_stage_1 or item == 2 else 4 * _touched(case)
    return State(
        weights=item * whole,
        gradients=gradients + on_the_way,
        master=0,
        moments=0,
        host=(4 + 8 + 4 + item) * own + gathered + on_the_way,
    )


def _sharded_state(case: Case) -> State:
    zero, world, item = case.config.zero, case.hardware.world_size, case.item_bytes
    settings = case.settings
    threshold = settings["zero_optimization"]["stage3_param_persistence_threshold"]
    shares = [math.ceil(n / world) for n in case.numels]
    own = sum(shares)
    small = [share for share, n in zip(shares, case.numels, strict=True) if n <= threshold]
    persistent = item * world * sum(small)
    is_bfloat16_sum = settings.get("data_types", {}).get("grad_accum_dtype") == "bf16"
    gradients = (2 if is_bfloat16_sum else 4) * own
    master = 4 * own
    second = 0
    if zero.hpz_processes > 1:
        second = item * (own - sum(small)) * world // zero.hpz_processes
    on_gpu = persistent + second + (0 if zero.offload_parameters else item * own)
    host = item * own if zero.offload_parameters else 0
    if not zero.offload_optimizer:
        return State(weights=on_gpu, gradients=gradients, master=master, moments=8 * own, host=host)
    host += gradients + master + (8 + 4) * own
    return State(weights=on_gpu, gradients=0, master=0, moments=0, host=host)


def _touched(case: Case) -> int:
    """Elements of all parameters that reach into one GPU's part, on the GPU that has most."""
    world = case.hardware.world_size
    most = 0
    ends = [list(accumulate(group)) for group in (case.matrices, case.vectors)]
    parts = [math.ceil(group[-1] / (2 * world)) * 2 for group in ends]
    for rank in range(world):
        found = 0
        for group, part in zip(ends, parts, strict=True):
            first = bisect_right(group, rank * part)
            last = min(bisect_left(group, (rank + 1) * part), len(group) - 1)
            if first <= last:
                found += group[last] - (group[first - 1] if first else 0)
        most = max(most, found)
    return most


def memory(case: Case) -> Memory:
    """One GPU at its fullest."""
    config, item = case.config, case.item_bytes
    tokens = case.workload.peak_tokens(config, case.busiest_rows)
    state, zero = state_bytes(case), case.settings["zero_optimization"]
    n, largest = sum(case.numels), max(case.numels)
    gathered = 0
    if config.zero.stage == 3:
        alive = min(n, zero["stage3_max_live_parameters"])
        gathered = item * (alive + zero["stage3_prefetch_bucket_size"] + largest)
    before = Memory(
        state=state,
        buckets=bucket_bytes(case),
        gathered=gathered,
        activations=tokens * activation_bytes(case) * case.architecture.n_layers,
        working=tokens * _working_bytes(case),
        logits=_logit_bytes(case, tokens),
        in_flight=2 * item * max(largest, zero.get("reduce_bucket_size", 0)),
        update=_update_bytes(case),
        fragmentation=0,
        context=round(case.hardware.assume.context_gib * GIB),
    )
    # State and buckets are made once, at the beginning: what comes and goes leaves the gaps.
    moving = max(before.in_pass, before.update)
    return replace(before, fragmentation=round(case.hardware.assume.fragmentation_frac * moving))


def bucket_bytes(case: Case) -> int:
    """Gradients on their way into a reduction."""
    zero, item = case.config.zero, case.item_bytes
    elements = case.settings["zero_optimization"].get("reduce_bucket_size", 0)
    if zero.stage == 1:
        return 4 * elements if item == 4 or zero.offload_optimizer else 0
    # Two buckets take turns where communication overlaps, but under ZeRO-3.
    return item * elements * {0: 0, 2: 2, 3: 1}[zero.stage]


def activation_bytes(case: Case) -> int:
    """Kept per token and layer: `llama_gpt4/recompute.py` says what each policy keeps.

    With D hidden, F feed-forward, Q and KV the widths of queries and of keys or values:
    none 4D + 2Q + 2KV + 3F, lean 2D + 2Q + 2KV + 2F, attention 2D + Q, full D elements.
    """
    a = case.architecture
    d, f = a.hidden_size, a.feed_forward_size
    q, kv = a.n_heads * a.head_size, a.n_kv_heads * a.head_size
    elements = {
        "none": 4 * d + 2 * q + 2 * kv + 3 * f,
        "lean": 2 * d + 2 * q + 2 * kv + 2 * f,
        "attention": 2 * d + q,
        "full": d,
    }
    return case.item_bytes * elements[case.config.model.recompute]


def _working_bytes(case: Case) -> int:
    """Per token: gradients of 2D + 3F elements, and all of one layer where it is replayed."""
    a = case.architecture
    gradients = case.item_bytes * (2 * a.hidden_size + 3 * a.feed_forward_size)
    is_replayed = case.config.model.recompute in ("attention", "full")
    replayed = activation_bytes(case.with_recompute("none")) if is_replayed else 0
    return gradients + replayed


def _logit_bytes(case: Case, tokens: int) -> int:
    """As if every token had a target: a chunk of logits, rows in and their gradients, and the
    weight's gradient, in float32 where there is more than one chunk."""
    a, item = case.architecture, case.item_bytes
    wanted = item * tokens * a.vocab_size
    chunk = min(wanted, LOGIT_CHUNK_BYTES)
    weight = a.vocab_size * a.hidden_size * (item if wanted <= chunk else 4 + item)
    return chunk + 2 * item * tokens * a.hidden_size + weight


def _update_bytes(case: Case) -> int:
    """Copies of gradients: a sub-group's in float32 (stage 3), a partition's end to end (stage 2
    in float32), or a bucket's on the way to an all-reduce (stages 0 and 1)."""
    zero, n = case.config.zero, sum(case.numels)
    if zero.stage == 3:
        if zero.offload_optimizer:
            return 0
        group = min(n, case.settings["zero_optimization"]["sub_group_size"])
        return 4 * group // case.hardware.world_size
    if zero.stage == 2:
        return (
            0
            if case.item_bytes == 2 or zero.offload_optimizer
            else 4 * n // case.hardware.world_size
        )
    return (4 + case.item_bytes) * min(n, ALL_REDUCE_ELEMENTS)


def fits(case: Case) -> bool:
    return memory(case).total <= case.hardware.gpu.memory_gib * GIB


def largest_rows(case: Case) -> int:
    """The most rows of a micro-batch that fit, up to the whole global batch; 0: not even one."""
    low, high = 0, case.config.rows_per_step + 1
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if fits(case.with_rows(middle)) else (low, middle)
    return low


def host_bytes(case: Case) -> int:
    """Of one node: its processes, what they keep there, and the copies of their parts of the state
    from which checkpoints are written; under stage 0 that is the first process's alone."""
    hardware = case.hardware
    writers = min(hardware.gpus_per_node, writing_processes(case))
    copies = math.ceil(writers * CHECKPOINT_BYTES * sum(case.numels) / writing_processes(case))
    return hardware.gpus_per_node * (PROCESS_BYTES + state_bytes(case).host) + copies


def writing_processes(case: Case) -> int:
    """Among how many the state is divided."""
    return case.hardware.world_size if case.config.zero.stage > 0 else 1


def disk_bytes(case: Case) -> tuple[int, int]:
    """(checkpoints, exported model) on the disk of `run_dir` at its fullest."""
    config, n = case.config, sum(case.numels)
    has_best = bool(config.data.validation.files or config.data.validation.share)
    checkpoint_bytes = CHECKPOINT_BYTES * n
    kept = config.train.checkpoints_on_disk(checkpoint_bytes, has_best)
    return checkpoint_bytes * kept, case.item_bytes * n
