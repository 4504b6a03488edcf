"""Which rows are for training and which for evaluation."""
