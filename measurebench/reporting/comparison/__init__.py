"""The page that compares two studies."""
