"""Tux Paint's stamps (785 pictures with captions, 6,242 spoken): TFDS builders and the splits."""
