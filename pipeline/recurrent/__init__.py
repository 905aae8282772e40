"""The nets: their table, their weights at the start, their layers, and their kernels."""
