"""Posteriors: draws of them and approximations, and whether they may be trusted."""
