"""What a step of a net costs, by the table of cells; counting needs no torch."""

from __future__ import annotations

from pipeline.recurrent.spec import CELLS, NetSpec


def multiply_adds_per_step(spec: NetSpec) -> int:
    """Multiply-adds of one sequence's step, in matrix products only.

    Those of the layers' matrices. With readout `all` the linear layer's C H too, C 2H in both
    directions, less with an adaptive softmax; otherwise it runs once a sequence and is left out.
    """
    of_readout = spec.num_outputs * spec.step_size if spec.readout == "all" else 0
    return count_layer_entries(spec) + of_readout


def count_layer_entries(spec: NetSpec) -> int:
    """The entries of the layers' matrices, by CELLS; a diagonal one is a vector and has none."""
    sizes, hidden = CELLS[spec.kind.cell], spec.hidden_size
    of_state = 0 if spec.kind.kept == "diagonal" else sizes.state_matrices * hidden
    of_layers = sum(sizes.input_matrices * inputs + of_state for inputs in spec.layer_inputs)
    return spec.num_directions * hidden * of_layers
