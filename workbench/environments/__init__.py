"""Environments: compiled ones, and gymnasium's on the host."""
