"""RobustBench's models: their list, weights and networks, with a downloader of our own."""
