"""Tokens per second of a whole system: GPUs for the projections, memory or PIM for attention."""
