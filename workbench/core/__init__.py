"""The compiled core: one step/replay/evaluation contract for every algorithm family.

Importing this package imports no TensorFlow; its modules do.
"""
