"""What the columns of a table hold: types, numbers from cells, words and their order."""
