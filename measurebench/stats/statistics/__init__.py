"""One file per statistic of association between a measure and the target."""
