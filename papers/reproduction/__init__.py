"""The papers carried out: cells to runs, runs to lines, lines to a page with a verdict a claim."""
