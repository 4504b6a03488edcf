"""Building blocks: attention, transformer, recurrence, convolution, embedding, pooling."""
