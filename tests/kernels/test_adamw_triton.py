from collections.abc import Callable

import pytest
import torch
from llama_gpt4_kernels import adamw_triton as module
from llama_gpt4_kernels.adamw_triton import AdamW
from torch import Tensor

SIZES = (1, 7, 512, 1025, 4999)
OPTIONS = {"lr": 1e-2, "betas": (0.9, 0.999), "eps": 1e-8, "weight_decay": 0.1}
MOMENTS = ("exp_avg", "exp_avg_sq")

Make = Callable[[list[Tensor]], torch.optim.AdamW]


def make_ours(params: list[Tensor]) -> AdamW:
    return AdamW(params, **OPTIONS)


def make_pytorchs(params: list[Tensor]) -> torch.optim.AdamW:
    return torch.optim.AdamW(params, **OPTIONS, fused=True)


def problem(steps: int = 10) -> tuple[list[Tensor], list[list[Tensor]]]:
    """Parameters, and their gradients at every step, from large to tiny."""
    params = [torch.randn(n) for n in SIZES]
    scales = [10.0 ** (-i) for i in range(steps)]
    return params, [[scale * torch.randn(n) for n in SIZES] for scale in scales]


def run(optimizer: torch.optim.AdamW, grads: list[list[Tensor]]) -> None:
    for i, at_step in enumerate(grads):
        for group in optimizer.param_groups:
            group["lr"] = OPTIONS["lr"] * (1 + i % 3)  # as a schedule would
            for param, grad in zip(group["params"], at_step, strict=True):
                param.grad = grad.to(param.dtype)
        optimizer.step()


def trained(
    make: Make, params: list[Tensor], grads: list[list[Tensor]], dtype: torch.dtype
) -> list[list[Tensor]]:
    """Parameters, first moments, second moments after all steps, in float64."""
    leaves = [x.to(dtype, copy=True).requires_grad_() for x in params]
    optimizer = make(leaves)
    run(optimizer, grads)
    states = [optimizer.state[leaf] for leaf in leaves]
    moments = [[state[key].double() for state in states] for key in MOMENTS]
    return [[leaf.detach().double() for leaf in leaves], *moments]


@pytest.mark.parametrize("betas", [(0.9, 0.999), (0.9, 0.95), (0.5, 0.7)])
def test_as_exact_as_pytorch(betas: tuple[float, float], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(OPTIONS, "betas", betas)
    params, grads = problem()
    truth = trained(make_pytorchs, params, grads, torch.float64)
    ours = trained(make_ours, params, grads, torch.float32)
    theirs = trained(make_pytorchs, params, grads, torch.float32)
    for exact, mine, other in zip(truth, ours, theirs, strict=True):
        error = torch.cat(mine) - torch.cat(exact)
        allowed = torch.cat(other) - torch.cat(exact)
        assert error.norm() <= 2 * allowed.norm()
        assert error.abs().max() <= 2 * allowed.abs().max()


def test_bias_correction_is_exact_at_every_step() -> None:
    """The only thing that a later step changes is the correction: an update shows it."""
    for step in (0, 1, 30, 500, 692, 693, 5000, 10**5, 10**7):
        moved = []
        for make, dtype in ((make_ours, torch.float32), (make_pytorchs, torch.float64)):
            param = torch.zeros(1, dtype=dtype, requires_grad=True)
            optimizer = make([param])
            zero = torch.zeros_like(param)
            optimizer.state[param] = {
                "step": torch.tensor(float(step)),
                "exp_avg": zero.clone(),
                "exp_avg_sq": zero.clone(),
            }
            param.grad = torch.ones_like(param)
            optimizer.step()
            moved.append(float(param.detach()))
        assert moved[0] == pytest.approx(moved[1], rel=5e-7), step


def test_moments_may_have_no_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(OPTIONS, "betas", (0.0, 0.0))
    params, grads = problem(2)
    ours = trained(make_ours, params, grads, torch.float32)
    theirs = trained(make_pytorchs, params, grads, torch.float32)
    for mine, other in zip(ours, theirs, strict=True):
        assert torch.allclose(torch.cat(mine), torch.cat(other), rtol=1e-6, atol=1e-5)


def test_state_and_groups_are_pytorchs_and_either_goes_on_where_the_other_stopped() -> None:
    params, grads = problem()
    whole = trained(make_pytorchs, params, grads, torch.float32)[0]
    for first, second in ((make_ours, make_pytorchs), (make_pytorchs, make_ours)):
        leaves = [x.clone().requires_grad_() for x in params]
        before, after = first(leaves), second(leaves)
        run(before, grads[:6])
        state = before.state_dict()
        reference = make_pytorchs([x.clone().requires_grad_() for x in params])
        run(reference, grads[:6])
        described = [
            {key: (value.shape, value.dtype) for key, value in entry.items()}
            for made in (state, reference.state_dict())
            for entry in made["state"].values()
        ]
        assert described[: len(SIZES)] == described[len(SIZES) :]
        assert state["param_groups"] == reference.state_dict()["param_groups"]
        after.load_state_dict(state)
        run(after, grads[6:])
        assert all(float(entry["step"]) == len(grads) for entry in after.state.values())
        for one, other in zip(leaves, whole, strict=True):
            assert torch.allclose(one.double(), other, rtol=1e-5, atol=1e-6)


def test_bitwise_repeatable_and_gradients_untouched() -> None:
    params, grads = problem()
    before = [[x.clone() for x in at_step] for at_step in grads]
    one, other = (trained(make_ours, params, grads, torch.float32) for _ in range(2))
    for first, second in zip(one, other, strict=True):
        assert all(map(torch.equal, first, second))
    assert all(
        torch.equal(x, y)
        for xs, ys in zip(grads, before, strict=True)
        for x, y in zip(xs, ys, strict=True)
    )


def test_groups_have_their_own_options_and_a_tensor_without_gradient_stays() -> None:
    decaying, still, idle = (torch.ones(5).requires_grad_() for _ in range(3))
    groups = [{"params": [decaying], "weight_decay": 0.5}, {"params": [still, idle]}]
    optimizer = AdamW(groups, lr=0.1, betas=(0.9, 0.95), eps=1e-8, weight_decay=0.0)
    decaying.grad, still.grad = torch.zeros(5), torch.zeros(5)
    optimizer.step()
    assert torch.allclose(decaying, torch.tensor(0.95)) and torch.equal(still, torch.ones(5))
    assert torch.equal(idle, torch.ones(5)) and idle not in optimizer.state


def test_elements_are_independent_of_the_size_of_their_tensor() -> None:
    """The last, masked block computes what a full one does, and nothing beyond the tensor moves."""
    params, grads = [torch.randn(1024)], [[torch.randn(1024)] for _ in range(2)]
    whole = trained(make_ours, params, grads, torch.float32)[0][0]
    storage = torch.full((1024,), 7.0)
    part = storage[:700].copy_(params[0][:700]).requires_grad_()
    optimizer = make_ours([part])
    run(optimizer, [[at_step[0][:700].clone()] for at_step in grads])
    assert torch.equal(part.detach().double(), whole[:700])
    assert torch.equal(storage[700:], torch.full((324,), 7.0))


def test_nothing_to_do_launches_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "adamw_kernel", None)
    empty = torch.zeros(0, requires_grad=True)
    optimizer = make_ours([empty])
    optimizer.step()
    empty.grad = torch.zeros(0)
    optimizer.step()
    assert float(optimizer.state[empty]["step"]) == 1


def test_only_float32_is_updated() -> None:
    param = torch.zeros(3, dtype=torch.bfloat16, requires_grad=True)
    optimizer = make_ours([param])
    param.grad = torch.zeros_like(param)
    with pytest.raises(AssertionError, match="bfloat16"):
        optimizer.step()
