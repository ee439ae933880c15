"""How the reference model is made and measured."""
