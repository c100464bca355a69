"""Where a learner's batches come from.

The contract: a `tf.Module` whose `sample(seed)` gives a batch of static shape; online ones also
take `insert(items)`. State lives in variables, and a sample costs the same however much is stored.
"""
