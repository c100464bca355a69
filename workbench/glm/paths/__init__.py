"""Paths of penalised estimates: ridge, lasso, elastic net and group lasso."""
