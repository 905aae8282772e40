"""Speed, measured: each script prints both sides of each ratio from one run."""
