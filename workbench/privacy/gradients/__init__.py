"""Per-example gradients of Keras models: their norms, and one weighted sum of them."""
