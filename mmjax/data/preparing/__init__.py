"""Tables are checked, and written as records that are read fast."""
