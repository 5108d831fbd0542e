"""Pages, charts and figures from tables and analyses; never torch."""
