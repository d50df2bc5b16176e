"""How a judge is asked to compare two answers: the three prompts of Vicuna's evaluation, which the
paper followed, word for word (FastChat, fastchat/eval/table/prompt.jsonl, prompt_id 1 to 3).

They are protocol: with other words, scores are not comparable with published ones. Questions and
answers may be in any language.
"""

from llama_gpt4_data.requests import Message

SYSTEM = "You are a helpful and precise assistant for checking the quality of the answer."
FRAME = (
    "[Question]\n{question}\n\n"
    "[The Start of Assistant 1's Answer]\n{answer_1}\n\n[The End of Assistant 1's Answer]\n\n"
    "[The Start of Assistant 2's Answer]\n{answer_2}\n\n[The End of Assistant 2's Answer]\n\n"
    "[System]\n{prompt}\n\n"
)
GENERAL = (
    "We would like to request your feedback on the performance of two AI assistants in response to "
    "the user question displayed above.\n"
    "Please rate the helpfulness, relevance, accuracy, level of details of their responses. Each "
    "assistant receives an overall score on a scale of 1 to 10, where a higher score indicates "
    "better overall performance.\n"
    "Please first output a single line containing only two values indicating the scores for "
    "Assistant 1 and 2, respectively. The two scores are separated by a space. In the subsequent "
    "line, please provide a comprehensive explanation of your evaluation, avoiding any potential "
    "bias and ensuring that the order in which the responses were presented does not affect your "
    "judgment."
)
CODING = (
    "Your task is to evaluate the coding abilities of the above two assistants. They have been "
    "asked to implement a program to solve a given problem. Please review their code submissions, "
    "paying close attention to their problem-solving approach, code structure, readability, and "
    "the inclusion of helpful comments.\n\n"
    "Please ensure that the assistants' submissions:\n\n"
    "1. Correctly implement the given problem statement.\n"
    "2. Contain accurate and efficient code.\n"
    "3. Include clear and concise comments that explain the code's logic and functionality.\n"
    "4. Adhere to proper coding standards and best practices.\n\n"
    "Once you have carefully reviewed both submissions, provide detailed feedback on their "
    "strengths and weaknesses, along with any suggestions for improvement. You should first output "
    "a single line containing two scores on the scale of 1-10 (1: no code/no sense; 10: perfect) "
    "for Assistant 1 and 2, respectively. Then give extra comments starting from the next line."
)
MATH = (
    "We would like to request your feedback on the mathematical proficiency of two AI assistants "
    "regarding the given user question displayed above.\n"
    "First, please solve the problem independently, without referring to the answers provided by "
    "Assistant 1 and Assistant 2.\n"
    "Afterward, please examine the problem-solving process of Assistant 1 and Assistant 2 "
    "step-by-step to ensure their correctness, identifying any incorrect steps if present. Your "
    "evaluation should take into account not only the answer but also the problem-solving steps.\n"
    "Finally, please output a Python tuple containing two numerical scores for Assistant 1 and "
    "Assistant 2, ranging from 1 to 10, respectively. If applicable, explain the reasons for any "
    "variations in their scores and determine which assistant performed better."
)
PROMPTS = {"general": GENERAL, "coding": CODING, "math": MATH}
"""By name, which is also the category of the questions that it is for; `general` has the rest."""


def prompt_for(category: str) -> str:
    """The name of the prompt for questions of `category`."""
    return category if category in PROMPTS else "general"


def judging_messages(prompt: str, question: str, answer_1: str, answer_2: str) -> list[Message]:
    """What the judge is sent; `prompt` is one of `PROMPTS` by name."""
    body = FRAME.format(
        question=question, answer_1=answer_1, answer_2=answer_2, prompt=PROMPTS[prompt]
    )
    return [{"role": "system", "content": SYSTEM}, {"role": "user", "content": body}]
