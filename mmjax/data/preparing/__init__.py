"""Tables are checked, and written as records with their files inside."""
