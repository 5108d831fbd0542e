"""Ground of the house: records, specifications, configuration, registry, digests and errors. Never torch."""
