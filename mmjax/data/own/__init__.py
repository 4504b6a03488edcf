"""A user's own data: any table -> splits with inputs and targets, and their batches."""
