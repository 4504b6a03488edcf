"""Tables of rows by random access, whatever the files are: rows stay where they are until read."""
