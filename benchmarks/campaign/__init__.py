"""Trust, measured: wrong input of every kind, and what came of it, counted."""
