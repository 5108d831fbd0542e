"""RobustBench's zoo: its list, its weights and its networks, without its downloader."""
