"""The memory controller, to the cycle: commands, the rules between them, the scheduler."""
