"""What is measured of answers and data sets: the metrics of `llama-gpt4 evaluate`."""
