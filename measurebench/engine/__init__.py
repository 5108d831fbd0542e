"""Plan, run and record: from models to a results folder that survives a kill at any moment."""
