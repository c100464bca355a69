"""Tables with named columns: your own, and those of statsmodels, NIST and posteriordb."""
