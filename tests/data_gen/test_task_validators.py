"""Faults of tasks: links, and what no model of text can do."""

import os

import pytest
from llama_gpt4_data.task_validators import media_task, url_only_input

from llama_gpt4.records import read_records

REAL_DATA = os.environ.get("LLAMA_GPT4_REAL_DATA")


@pytest.mark.parametrize(
    "input", ["https://example.com/a", " http://a.org \nwww.b.org/x?y=1", "https://例子.cn/路"]
)
def test_links_alone_are_no_input(input: str) -> None:
    assert url_only_input("Summarize the article.", input) is not None


@pytest.mark.parametrize(
    ("instruction", "input"),
    [
        ("Summarize the article.", ""),
        ("Summarize the article.", "See https://example.com: the oak is a tree."),
        ("Output the domain of this URL.", "https://example.com/a"),
        ("提取域名。", "https://example.com/a"),
    ],
)
def test_text_beside_a_link_and_tasks_about_links_are_fine(instruction: str, input: str) -> None:
    assert url_only_input(instruction, input) is None


@pytest.mark.parametrize(
    "instruction",
    [
        "Draw a house with a red roof.",
        "Create a pie chart of the results.",
        "Design a logo for a bakery",
        "Describe what is happening in the picture.",
        "Classify the given image as cat or dog.",
        "Plot the sine of x from 0 to 1.",
        "Make a short video about trees",
        "画一只猫。",
        "请绘制一个三角形。",
        "制作一张各月降雨量的条形图。",
        "解释这幅漫画。",
        "描述以下图片的内容。",
    ],
)
def test_media_are_asked_for(instruction: str) -> None:
    assert media_task(instruction) == instruction


@pytest.mark.parametrize(
    "instruction",
    [
        "Draw a conclusion from the data.",
        "Summarize the plot of the film.",
        "Write a script for a video about trees.",
        "Create a video title that attracts viewers.",
        "Explain how photographs were made in 1850.",
        "Write Python code to plot a graph.",
        "Rewrite the sentence: she painted in the picture.",
        "图书馆的作用是什么？",
        "试图解释气候变化的影响。",
        "写一个电影标题。",
        "将句子改为主动语态：艺术家创作了这幅画。",
        "编写一个程序，绘制图表。",
    ],
)
def test_words_about_media_are_not_media(instruction: str) -> None:
    assert media_task(instruction) is None


@pytest.mark.skipif(REAL_DATA is None, reason="LLAMA_GPT4_REAL_DATA names no folder")
def test_few_real_tasks_are_about_media() -> None:
    records = [
        record
        for language in ("en", "zh")
        for record in read_records(f"{REAL_DATA}/alpaca_gpt4_{language}.json")
    ]
    # Read one by one: each makes or needs an image, a chart or a film.
    assert sum(media_task(record.instruction) is not None for record in records) == 14
