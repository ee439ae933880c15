"""Prompts of an exact length in tokens, and the tasks inside them."""
