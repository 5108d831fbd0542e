"""Tools that move weights or images: noise, ascent, Hessian products, and how much a network bears."""
