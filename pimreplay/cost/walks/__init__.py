"""The analytic fidelity's compiled walks from row to row, one a PIM level."""
