"""The public STARC artefact's per-step tables, replayed and set beside what was published.

`row_tokens` reads the tables, `shapes` the models behind them, `cost` turns a step into cycles
and commands, `accounting` commands into energy, `study` all steps into tables, `claims` compares
with the two versions of the paper, `figures` and `page` show it.
"""
