"""Training robust classifiers: objectives, weight perturbation, one run with its checkpoints, and grids of runs."""
