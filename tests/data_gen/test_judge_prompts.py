"""The prompts are FastChat's to the letter; what they are put together to is what the paper's judge
was sent."""

from hashlib import sha256

from llama_gpt4_data.judge_prompts import PROMPTS, SYSTEM, judging_messages, prompt_for

FASTCHAT = {
    "general": "9d31cdb9ee31c22a3103c41ff5ab073e33367a1fd5306f1b33acdf0e68c1110b",
    "coding": "e6000ecdacc4ad2a07838c0877fddb0a7d2c98da0c28f66de69c4c4f96a2c4a7",
    "math": "942a1df5a2eec2052daa50d629a7f1b64e197410a0b110c12d2b6d29271bc8a7",
}
"""SHA-256 of `defaults.prompt` in fastchat/eval/table/prompt.jsonl at 080a703c."""


def test_the_words_are_those_of_fastchat() -> None:
    assert {name: sha256(text.encode()).hexdigest() for name, text in PROMPTS.items()} == FASTCHAT


def test_a_rendered_prompt() -> None:
    system, user = judging_messages("general", "Why {x}?", "Because.\n", "")
    assert system == {"role": "system", "content": SYSTEM}
    assert user == {
        "role": "user",
        "content": "[Question]\nWhy {x}?\n\n"
        "[The Start of Assistant 1's Answer]\nBecause.\n\n\n[The End of Assistant 1's Answer]\n\n"
        "[The Start of Assistant 2's Answer]\n\n\n[The End of Assistant 2's Answer]\n\n"
        "[System]\nWe would like to request your feedback on the performance of two AI assistants "
        "in response to the user question displayed above.\n"
        "Please rate the helpfulness, relevance, accuracy, level of details of their responses. "
        "Each assistant receives an overall score on a scale of 1 to 10, where a higher score "
        "indicates better overall performance.\n"
        "Please first output a single line containing only two values indicating the scores for "
        "Assistant 1 and 2, respectively. The two scores are separated by a space. In the "
        "subsequent line, please provide a comprehensive explanation of your evaluation, avoiding "
        "any potential bias and ensuring that the order in which the responses were presented does "
        "not affect your judgment.\n\n",
    }


def test_categories_choose_the_prompt() -> None:
    assert [prompt_for(c) for c in ("coding", "math", "writing", "general", "")] == [
        "coding", "math", "general", "general", "general"
    ]  # fmt: skip
    assert "Python tuple" in judging_messages("math", "?", "1", "2")[1]["content"]
