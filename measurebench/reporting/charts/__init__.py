"""One file per chart: what is drawn, and what is seen in it."""
