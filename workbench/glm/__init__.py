"""Generalised linear models: maximum likelihood with inference, regularised paths, and Bayes."""
