"""The page of models compared in pairs."""
