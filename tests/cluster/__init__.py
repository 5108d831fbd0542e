"""Ray clusters of simulated nodes on this machine: equal tables, kills of actors, nodes and drivers, and Ctrl-C."""
