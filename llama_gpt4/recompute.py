"""What a layer keeps for its backward pass; the rest is computed again there.

Kept per token and layer of LLaMA-7B in bf16, and products computed again, in forward passes:

    none        128.5 KiB  0      everything that some backward pass reads
    lean           91 KiB  0      not the normed hidden states, nor what enters the down projection:
                                  one elementwise kernel each brings them back
    attention      24 KiB  0.69   the residual stream, and what attention and its projection return
    full            8 KiB  0.78   the layer's input alone

`lean` computes no product again and calls no module, so ZeRO-3 gathers no weight for it; the other
two gather the weights of what they replay once more. Gradients are the same bit for bit.

PyTorch's selective checkpointing would do for `attention`, but its dispatch mode also counts the
operators by which ZeRO-3 gathers weights, and these differ between forward and replay.
"""

from collections.abc import Callable
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils.checkpoint import checkpoint

Pair = tuple[Tensor, Tensor]


class Replay:
    """Tensors that autograd would keep, replaced by how to compute them again."""

    def __init__(self, with_heads: bool = False) -> None:
        self.with_heads = with_heads
        """Whether queries, keys and values are among them, which takes products."""
        self._outputs: dict[int, _Output] = {}

    def hooks(self) -> saved_tensors_hooks:
        return saved_tensors_hooks(self._pack, _unpack)

    def instead_of(self, compute: Callable[[], tuple[Tensor, ...]], *tensors: Tensor) -> None:
        """Where autograd is about to keep one of `tensors` or a view of it, keep `compute`.

        It has to return the same tensors, in the same layout.
        """
        recipe = _Recipe(compute)
        for index, tensor in enumerate(tensors):
            assert tensor.storage_offset() == 0, "views are measured from the storage's beginning"
            self._outputs[_address(tensor)] = _Output(recipe, index, tensor)

    def source_of(self, tensor: Tensor) -> Callable[[], Tensor]:
        """How another recipe gets at `tensor`, which has one, without keeping it."""
        output = self._outputs[_address(tensor)]
        output.recipe.uses += 1
        return output.result

    def _pack(self, tensor: Tensor) -> "Tensor | _View":
        output = self._outputs.get(_address(tensor))
        # Another tensor may have got the memory of one that is gone.
        if output is None or output.storage.expired():
            return tensor
        output.recipe.uses += 1
        return _View(output, tensor)


class _Recipe:
    """Computed at the first use in the backward pass, dropped at the last."""

    def __init__(self, compute: Callable[[], tuple[Tensor, ...]]) -> None:
        self.compute = compute
        self.uses = 0
        self.values: tuple[Tensor, ...] | None = None

    def results(self) -> tuple[Tensor, ...]:
        values = self.values
        if values is None:
            with torch.no_grad():
                values = self.compute()
        self.uses -= 1
        self.values = values if self.uses > 0 else None
        return values


class _Output:
    """One of the tensors that a recipe makes."""

    def __init__(self, recipe: _Recipe, index: int, tensor: Tensor) -> None:
        self.recipe = recipe
        self.index = index
        self.storage = StorageWeakRef(tensor.untyped_storage())

    def result(self) -> Tensor:
        return self.recipe.results()[self.index]


class _View:
    """What autograd keeps: a place within an output."""

    def __init__(self, output: _Output, tensor: Tensor) -> None:
        self.output = output
        self.layout = tensor.size(), tensor.stride(), tensor.storage_offset()


def _address(tensor: Tensor) -> int:
    return tensor.untyped_storage().data_ptr()


def _unpack(packed: Tensor | _View) -> Tensor:
    if isinstance(packed, Tensor):
        return packed
    return packed.output.result().as_strided(*packed.layout)


class TwoHalves(Protocol):
    """A layer, as the policies see it."""

    def attend(self, *inputs: Any, **options: Any) -> Pair: ...

    def feed(self, *inputs: Any, **options: Any) -> Pair: ...


def keep_all(layer: TwoHalves, hidden: Tensor, delta: Tensor | None, *context: Any) -> Pair:
    return layer.feed(*layer.attend(hidden, delta, *context))


def _keep_lean(layer: TwoHalves, hidden: Tensor, delta: Tensor | None, *context: Any) -> Pair:
    replay = Replay()
    with replay.hooks():
        attended = layer.attend(hidden, delta, *context, replay=replay)
        return layer.feed(*attended, replay=replay)


def _keep_attention(layer: TwoHalves, hidden: Tensor, delta: Tensor | None, *context: Any) -> Pair:
    replay = Replay(with_heads=True)
    with replay.hooks():
        attended = layer.attend(hidden, delta, *context, replay=replay)
    return _checkpoint(layer.feed, *attended)


def _keep_input(layer: TwoHalves, hidden: Tensor, delta: Tensor | None, *context: Any) -> Pair:
    # The sum is made out here, so that one tensor is kept for the layer and not two.
    summed = hidden if delta is None else hidden + delta
    return _checkpoint(keep_all, layer, summed, None, *context)


def _checkpoint(function: Callable[..., Pair], *inputs: Any) -> Pair:
    return checkpoint(function, *inputs, use_reentrant=False, preserve_rng_state=False)


LAYER_RUNNERS: dict[str, Callable[..., Pair]] = {
    "none": keep_all,
    "lean": _keep_lean,
    "attention": _keep_attention,
    "full": _keep_input,
}
"""By the name of the policy: run a layer on (hidden, delta, ...) -> the same two for the next."""
