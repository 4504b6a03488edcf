"""Images and videos -> pixel values."""
