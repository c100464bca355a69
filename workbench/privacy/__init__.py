"""Differentially private training: mechanisms, per-example clipping, accounting and audits."""
