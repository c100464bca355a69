"""Sweeps: many cells in one folder, on this machine or a cluster."""
