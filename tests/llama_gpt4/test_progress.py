from llama_gpt4.progress import Progress


def test_it_moves_with_each_word() -> None:
    progress = Progress()
    before = progress.moves
    progress.at("update")
    assert progress.phase == "update" and progress.moves != before
    before = progress.moves
    progress.at("update")  # of the next micro-step
    assert progress.moves != before
