"""Data: sources of records, per-example transforms, the tokenizer and the Grain pipeline."""
