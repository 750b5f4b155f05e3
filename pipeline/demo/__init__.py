"""The page to draw on: a mask from the pointer or from a file, and what `generate` makes of it, looked at."""
