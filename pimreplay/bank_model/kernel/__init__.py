"""The scheduler: what each channel's controller issues, and when, over integer arrays, compiled.

Event-driven: time jumps to the next cycle at which something can happen. Channels that have
received the same requests in the same order are in the same state and are simulated once (a
*class* of channels); a class splits at the first request that treats its members differently.

`front_end` feeds `controller`, which chooses from `pim_queue` and `lists` by `timing` and
`open_rows`. One row of `state` holds everything of a class. The rules and their sources are in
docs/timing_rules.md.
"""
