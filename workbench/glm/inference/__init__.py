"""What an estimate is worth: covariances, intervals, tests, residuals and influence."""
