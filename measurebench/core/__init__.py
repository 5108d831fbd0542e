"""Foundation layer: records, specifications, registries, plugins, digests, errors. It imports no other layer."""
