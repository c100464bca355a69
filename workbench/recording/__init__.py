"""Run folders: what a run writes, and what its user sees."""
