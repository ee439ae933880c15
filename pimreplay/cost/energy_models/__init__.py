"""How events become energy: one file a model, named as in hardware files."""
