"""The losses have the values and gradients that their formulas say."""

import math

import numpy as np
import pytest
import torch
from llama_gpt4_data.reward_loss import (
    Terms,
    centring_loss,
    ranking_loss,
    term_weights,
    terms_of,
)
from torch import Tensor

LN2 = math.log(2)


def pairs_of(scores: list[float]) -> np.ndarray:
    """By score, ties in none."""
    k = range(len(scores))
    found = [(i, j) for i in k for j in k if scores[i] > scores[j]]
    return np.array(found, np.int64).reshape(-1, 2)


def loss_of(kind: str, rewards: list[float], scores: list[float], points: float = 0.0) -> Tensor:
    """Of one prompt, its gradient in the returned tensor's `rewards`."""
    terms = terms_of(kind, pairs_of(scores), np.array(scores))
    weights = np.repeat(term_weights(kind, np.array([len(terms.winners)])), len(terms.winners))
    return total(torch.tensor(rewards, dtype=torch.float64), terms, weights, points)


def total(rewards: Tensor, terms: Terms, weights: np.ndarray, points: float = 0.0) -> Tensor:
    return ranking_loss(
        rewards,
        torch.from_numpy(terms.winners),
        torch.from_numpy(terms.losers),
        torch.from_numpy(points * terms.points),
        torch.from_numpy(weights),
    )


@pytest.mark.parametrize("kind", ["pairwise", "mean_over_pairs", "plackett_luce"])
def test_two_responses_are_the_published_formula(kind: str) -> None:
    assert float(loss_of(kind, [0, 0], [9, 4])) == pytest.approx(LN2)
    for lead in (-3.0, -0.1, 0.5, 4.0, 60.0):
        truth = -torch.nn.functional.logsigmoid(torch.tensor(lead, dtype=torch.float64))
        assert float(loss_of(kind, [lead, 0], [9, 4])) == pytest.approx(float(truth), rel=1e-12)


def test_the_loss_falls_as_the_lead_grows_and_pushes_the_two_apart() -> None:
    losses = [float(loss_of("pairwise", [lead, 0], [9, 4])) for lead in (-50, -1, 0, 1, 50)]
    assert losses == sorted(losses, reverse=True) and all(map(math.isfinite, losses))
    rewards = torch.tensor([0.3, -0.2], requires_grad=True, dtype=torch.float64)
    total(
        rewards, terms_of("pairwise", pairs_of([9, 4]), np.array([9.0, 4.0])), np.ones(1)
    ).backward()
    assert rewards.grad is not None
    chance = 1 / (1 + math.exp(0.5))
    assert rewards.grad.tolist() == pytest.approx([-chance, chance])


def test_a_tie_of_two_and_a_worse_one_make_two_pairs() -> None:
    terms = terms_of("pairwise", pairs_of([9, 9, 4]), np.array([9.0, 9.0, 4.0]))
    assert terms.winners.tolist() == [0, 1]
    assert terms.losers.tolist() == [[False, False, True]] * 2
    first, second = (float(loss_of("pairwise", [r, 0], [9, 4])) for r in (1.0, 2.0))
    mean = loss_of("pairwise", [1.0, 2.0, 0.0], [9, 9, 4])
    assert float(mean) == pytest.approx((first + second) / 2)


def test_plackett_luce_is_the_chance_of_the_whole_order() -> None:
    rewards, scores = [0.7, -0.4, 1.1], [9.0, 8.0, 4.0]
    e = [math.exp(r) for r in rewards]
    order = -math.log(e[0] / sum(e)) - math.log(e[1] / (e[1] + e[2]))
    assert float(loss_of("plackett_luce", rewards, scores)) == pytest.approx(order / 2)


def test_tied_responses_do_not_compete() -> None:
    """Each of two equal ones is chosen before the worse one, and never against the other."""
    e = [math.exp(r) for r in (0.5, -0.5, 0.2)]
    truth = -math.log(e[0] / (e[0] + e[2])) - math.log(e[1] / (e[1] + e[2]))
    assert float(loss_of("plackett_luce", [0.5, -0.5, 0.2], [9, 9, 4])) == pytest.approx(truth / 2)


def test_a_margin_asks_for_more_lead_where_the_scores_lie_apart() -> None:
    plain = [float(loss_of("pairwise", [lead, 0], [9, 4])) for lead in (0.0, 1.0)]
    # Five points at 0.2 each: a lead of 1 is worth what a lead of 0 was.
    asked = [float(loss_of("margin", [lead, 0], [9, 4], 0.2)) for lead in (1.0, 2.0)]
    assert asked == pytest.approx(plain)
    assert float(loss_of("margin", [1.0, 0], [9, 8], 0.2)) < asked[0]


def test_weights_are_by_prompt_or_by_pair_and_sum_to_one() -> None:
    n_terms = np.array([3, 1, 2])
    for kind in ("pairwise", "margin", "plackett_luce", "mean_over_pairs"):
        assert (term_weights(kind, n_terms) * n_terms).sum() == pytest.approx(1)
    assert (term_weights("pairwise", n_terms) * n_terms).tolist() == pytest.approx([1 / 3] * 3)
    assert term_weights("mean_over_pairs", n_terms).tolist() == pytest.approx([1 / 6] * 3)


def test_centring_sees_the_mean_of_a_prompt_only() -> None:
    prompts, weights = torch.tensor([0, 0, 1, 1, 1]), torch.tensor([0.5, 0.5])
    spread = torch.tensor([3.0, -3.0, 1.0, 2.0, 3.0])
    assert float(centring_loss(spread, prompts, weights)) == pytest.approx(0.5 * 0 + 0.5 * 4)


def test_no_term_is_zero_with_a_gradient_of_zero() -> None:
    """What a rank without prompts adds."""
    rewards = torch.ones(1, requires_grad=True)
    none = torch.zeros(0)
    loss = ranking_loss(rewards, none.long(), torch.zeros(0, 1, dtype=torch.bool), none, none)
    loss.backward()
    assert float(loss.detach()) == 0 and rewards.grad is not None and rewards.grad.tolist() == [0]
