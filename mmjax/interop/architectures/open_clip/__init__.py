"""open_clip's models and OpenAI's CLIP."""
