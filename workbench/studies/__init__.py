"""Statistics and reports over runs, made from their folders alone."""
