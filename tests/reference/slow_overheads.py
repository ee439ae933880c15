"""The cost of a policy's work beside reading keys and values, one vector or token at a time.

It shares no code with `pimreplay`; None is unknown, and what follows from it is None too.
"""

from slow_step import Device, columns_of_a_vector


def scoring(
    device: Device, head_dim: int, element_bytes: int, vectors: int, n_bytes: int | None
) -> tuple[float, float | None]:
    """Return (ns, pJ) of multiplying metadata vectors in the memory, as dense keys are.

    A vector lies in each lane. What is read is `n_bytes`, or the vectors whole where nobody knows.
    """
    t = device.timing
    mac_distance = {
        "bank": t["nCCDAB"],
        "bg": t["nCCDSB"],
        "buffer": max(t["nBL"], t["nCCDS"]),
    }[device.level]
    columns = columns_of_a_vector(device, head_dim, element_bytes)
    cycles = rows = 0
    for block, _ in enumerate(range(0, vectors, device.block_tokens)):
        if block % (device.columns // columns) == 0:  # the row before is full: close, open
            rows += 1
            cycles += t["nRTPL"] + t["nRP"] + t["nRCDRD"]
        for _ in range(columns):
            cycles += mac_distance
    price = device.energy
    opening, cell, mac = (price[name] for name in ("activation_pj", "cell_pj_per_bit", "mac_pj"))
    if opening is None or cell is None or mac is None:
        return cycles * device.t_ck_ns, None
    energy = 0.0
    for _ in range(rows * device.banks_at_once):
        energy += opening
    for _ in range(vectors * head_dim * element_bytes if n_bytes is None else n_bytes):
        energy += 8 * cell
    for _ in range(vectors * head_dim):
        energy += mac
    return cycles * device.t_ck_ns, energy


def clustering(device: Device, flops: int) -> tuple[float | None, float | None]:
    """Return (ns, pJ) of arithmetic on the host."""
    if device.host_flops_per_ns is None:
        return None, None
    time_ns = flops / device.host_flops_per_ns
    return time_ns, None if device.host_pj_per_flop is None else flops * device.host_pj_per_flop


def remapping(
    device: Device, head_dim: int, element_bytes: int, tokens: int
) -> tuple[float, float | None]:
    """Return (ns, pJ) of reading keys and values of tokens and writing them elsewhere.

    Both directions take the channel's data buses, one a pseudo-channel; bits go from the cells to
    the buffer die and back.
    """
    n_bytes = tokens * 2 * head_dim * element_bytes  # a key and a value each
    accesses = 0
    while accesses * device.access_bytes < n_bytes:
        accesses += 1
    distances = ("cell", "bank_group", "global_io", "tsv")
    prices = [device.energy[f"{name}_pj_per_bit"] for name in distances]
    cycles = 0.0
    energy: float | None = 0.0
    for _direction in ("read", "write"):
        cycles += accesses * device.timing["nBL"] / device.pseudo_channels
        for price in prices:
            energy = None if energy is None or price is None else energy + n_bytes * 8 * price
    return cycles * device.t_ck_ns, energy


def kmeans_flops(points: int, clusters: int, dim: int, iterations: int) -> int:
    """Count multiplications and additions of Lloyd's iterations, one loop after the other."""
    found = 0
    for _ in range(iterations):
        for _ in range(points):
            for _ in range(clusters):  # the product of a point and a centroid
                for _ in range(dim):
                    found += 1  # multiply
                    found += 1  # add
            for _ in range(dim):
                found += 1  # the point joins its centroid's sum
    return found
