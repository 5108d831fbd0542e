"""The static site: an index of studies and leaderboards."""
