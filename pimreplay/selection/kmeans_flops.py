"""Arithmetic of k-means, for whoever counts it without doing it (and without torch)."""


def flops(points: int, clusters: int, dim: int, iterations: int) -> int:
    """Return the arithmetic of k-means: a product per point and centroid, and the sums."""
    return iterations * points * dim * (2 * clusters + 1)
