"""Replay a captured trace under selection policies and layouts on an HBM-PIM bank model."""
