"""The command line: one file per command; imports late, so that --help answers at once."""
