"""Tokens are drawn by random numbers of the answer's own, as often as they are likely."""

import torch

from llama_gpt4.chat_tokens import Row
from llama_gpt4.decoding import DecodingConfig
from llama_gpt4.drawing import DrawPerRow, draws, keep_likeliest


def test_random_numbers_belong_to_seed_question_and_sample():
    row = Row("a", 0, [1])
    others = [draws(1, row, 9), draws(0, Row("b", 0, [1]), 9), draws(0, Row("a", 1, [1]), 9)]
    assert torch.equal(draws(0, row, 9), draws(0, Row("a", 0, [1, 5]), 9))
    assert not any(torch.equal(draws(0, row, 9), other) for other in others)
    assert torch.equal(draws(0, row, 20)[:9], draws(0, row, 9))


def test_tokens_are_drawn_as_often_as_they_are_likely():
    probabilities = torch.tensor([0.5, 0.0, 0.3, 0.15, 0.05])
    rows = [Row(str(i), 0, [1]) for i in range(20000)]
    for top_p, expected in [(1.0, probabilities), (0.75, torch.tensor([0.625, 0, 0.375, 0, 0]))]:
        decoding = DecodingConfig(max_new_tokens=1, temperature=0.5, top_p=top_p)
        draw = DrawPerRow(rows, decoding, 0, 1, 1)
        # At temperature 1/2 a logit counts twice.
        scores = (probabilities.log() / 2).expand(len(rows), -1)
        chosen = draw(torch.zeros(len(rows), 1), scores)
        assert torch.equal(chosen.exp().sum(-1), torch.ones(len(rows)))
        often = chosen.exp().mean(0)
        sigma = (expected * (1 - expected) / len(rows)).sqrt()
        assert ((often - expected).abs() <= 4 * sigma).all(), often


def test_top_p_keeps_the_fewest_tokens_that_reach_it():
    probabilities = torch.tensor([[0.25, 0.5, 0.125, 0.125], [1.0, 0.0, 0.0, 0.0]])
    assert keep_likeliest(probabilities, 0.5).tolist() == [[0, 0.5, 0, 0], [1, 0, 0, 0]]
    assert keep_likeliest(probabilities, 0.51).tolist() == [[0.25, 0.5, 0, 0], [1, 0, 0, 0]]
    assert keep_likeliest(probabilities, 1e-9).tolist() == [[0, 0.5, 0, 0], [1, 0, 0, 0]]
