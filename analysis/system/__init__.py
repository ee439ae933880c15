"""Whole systems in figures: tokens per second and energy per token, and what limits them."""
