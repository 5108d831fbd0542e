"""Tools that perturb weights or images: noise, ascent, Hessian products, and searches for the noise level."""
