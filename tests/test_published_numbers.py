"""Which test checks which published number, and what cannot be checked.

Of the paper (arXiv 2304.03277), its repository, Alpaca's and FastChat's. What needs their files is
skipped where LLAMA_GPT4_REAL_DATA names none; `slow` ones run with `make proofs`.
"""

import ast
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parent

CHECKS: dict[str, tuple[str, ...]] = {
    "1: 52,002 English records are the sum of Figure 1 (d)": (
        "llama_gpt4/evaluation/test_lengths.py::test_published_bins_come_out_of_lengths_that_have_them",
    ),
    "2: GPT-4's answers are 2.3 to 2.7 times as long as GPT-3's": (
        "llama_gpt4/evaluation/test_lengths.py::test_published_bins_bound_means_percentiles_and_the_longest",
    ),
    "3: verbs and nouns of Figure 1 (a to c) agree, and a toy corpus counts as by hand": (
        "llama_gpt4/evaluation/test_verb_noun.py::test_published_figures_agree_and_follow_the_rule",
        "llama_gpt4/evaluation/test_verb_noun.py::test_a_toy_corpus_counts_as_by_hand",
    ),
    "4, 5: the scores of Figure 2, with 119 zeros and 91 half points": (
        "data_gen/test_scores.py::test_the_published_scores_are_counted_exactly",
    ),
    "6: K answers make up to K(K-1)/2 pairs; lists that are not aligned make none": (
        "data_gen/test_pairs.py::test_k_answers_make_up_to_k_choose_2_pairs",
        "data_gen/test_comparisons.py::test_lists_of_scores_are_refused_with_the_reason",
    ),
    "7: the loss of the reward model": (
        "data_gen/test_reward_loss.py::test_two_responses_are_the_published_formula",
        "data_gen/test_reward_loss.py::test_the_loss_falls_as_the_lead_grows_and_pushes_the_two_apart",
        "data_gen/test_reward_loss.py::test_weights_are_by_prompt_or_by_pair_and_sum_to_one",
    ),
    "8: the 18 percentages of Figure 3 from 704 and 755 votes": (
        "llama_gpt4/evaluation/test_human.py::test_the_papers_votes_give_its_percentages",
    ),
    "9: Figure 4 (a, b), rank correlation 0.9": (
        "data_gen/test_judge_pairs.py::test_figure_4_a_and_b",
    ),
    "10: Figure 4 (c, d), as printed": ("data_gen/test_judge_pairs.py::test_figure_4_c_and_d",),
    "11: Figure 5, with its one bar against another opponent": (
        "data_gen/test_judge_pairs.py::test_figure_5",
        "data_gen/test_judge_pairs.py::test_figure_5_c_has_one_bar_with_another_opponent",
    ),
    "12: Figure 6: all is the mean of the buckets within 5e-4, and the printed differences": (
        "llama_gpt4/evaluation/test_rouge_scores.py::test_published_means_by_bucket_are_those_of_all",
        "llama_gpt4/evaluation/test_rouge_scores.py::test_published_differences_are_those_that_the_figure_prints",
    ),
    "13: edges and sizes of the buckets": (
        "llama_gpt4/evaluation/test_rouge_scores.py::test_edges_are_in_the_published_buckets",
        "llama_gpt4/evaluation/test_rouge_scores.py::test_published_means_by_bucket_are_those_of_all",
    ),
    "14: ROUGE is that of rouge-score to 1e-12, ROUGE-L at most ROUGE-1": (
        "llama_gpt4/test_rouge.py::test_scores_are_those_of_rouge_score",
        "llama_gpt4/test_rouge.py::test_a_longest_common_subsequence_is_of_common_words",
    ),
    "15: 252 prompts of 71 applications": (
        "llama_gpt4/evaluation/test_datasets.py::test_the_252_prompts_are_as_published",
    ),
    "16: 80 questions of nine categories": (
        "llama_gpt4/evaluation/test_datasets.py::test_the_80_questions_have_nine_categories",
    ),
    "17: totals of FastChat's reviews, and the questions of mathematics that its reader loses": (
        "data_gen/test_judge_pairs.py::test_published_reviews_give_the_published_totals",
        "data_gen/test_judge_scores.py::test_every_published_judgement_is_read_as_it_was_published",
    ),
    "18: the prompt of the judge, to the letter": (
        "data_gen/test_judge_prompts.py::test_the_words_are_those_of_fastchat",
        "data_gen/test_judge_prompts.py::test_a_rendered_prompt",
    ),
    "19: Alpaca's filters keep 171 of 175, 245 of 252 and 74 of 80; four seeds are alike": (
        "data_gen/test_instruction_filters.py::test_the_chain_keeps_of_real_sets_what_was_published",
        "llama_gpt4/test_similarity.py::test_four_seeds_resemble_another_seed",
    ),
    "20: tasks 32, 89 and 124 of the 252 are seeds of the training data": (
        "llama_gpt4/test_similarity.py::test_evaluation_sets_resemble_the_seeds_as_published",
    ),
    "21: 2,436, 1,218 and 2,030 steps with 74, 37 and 61 of warm-up": (
        "llama_gpt4/test_batches.py::test_steps_of_the_published_recipes",
        "llama_gpt4/test_schedule.py::test_warm_up_of_the_published_recipes",
        "llama_gpt4/test_recipes.py::test_steps_and_warm_up_are_the_papers",
    ),
    "22: the learning rate of the released configuration, and the cosine": (
        "llama_gpt4/test_schedule.py::test_the_curve_of_the_released_configuration",
        "llama_gpt4/test_schedule.py::test_curves_after_the_warm_up",
    ),
    "23: a new row of either embedding is a mean of old rows": (
        "llama_gpt4/test_embeddings.py::test_rows_are_means_of_what_spelled_the_piece_and_the_rest_is_untouched",
    ),
    "24: all but the answer and its end is masked": (
        "llama_gpt4/test_prepare.py::test_only_the_answer_and_its_end_are_learned",
        "llama_gpt4/test_prepare.py::test_golden_tokens_and_labels",
    ),
    "25: the best of five by a reward model is better, in a task of known reward": (
        "e2e/test_rank.py::test_the_groups_of_a_known_reward_are_in_their_order",
    ),
    "26: data of the stronger teacher make the better model": (
        "e2e/test_paper_in_small.py::test_the_stronger_teacher_makes_the_better_model",
    ),
    "27: tuning in Chinese helps in Chinese, in English it does not": (
        "e2e/test_languages.py::test_tuning_in_a_language_helps_in_it_alone",
    ),
    "28: sign tests of the votes": (
        "llama_gpt4/evaluation/test_vote_statistics.py::test_sign_tests_of_the_paper",
    ),
}

UNCHECKED = {
    "3: 5,229 and 6,133 distinct pairs": "the 51,749 answers themselves are not among the data",
    "17: five of the thirteen reviews": "their files are not among the data",
}
"""And why."""


@cache
def functions(path: Path) -> set[str]:
    return {
        node.name
        for node in ast.parse(path.read_text("utf-8")).body
        if isinstance(node, ast.FunctionDef)
    }


@pytest.mark.parametrize("claim", CHECKS)
def test_what_is_said_to_check_it_is_there(claim: str) -> None:
    for test in CHECKS[claim]:
        file, _, name = test.partition("::")
        assert name in functions(ROOT / file), test


def test_each_of_the_28_is_checked_or_said_not_to_be() -> None:
    numbers = {n for claim in (*CHECKS, *UNCHECKED) for n in claim.split(":")[0].split(", ")}
    assert numbers == {str(n) for n in range(1, 29)}
