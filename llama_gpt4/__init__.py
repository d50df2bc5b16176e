"""LLaMA, instruction-tuned with GPT-4: record in, checkpoint out."""
