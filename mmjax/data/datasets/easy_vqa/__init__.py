"""easy-VQA (5,000 images of 64 x 64 pixels, 48,248 questions): its TFDS builder and its sources."""
