"""The models that are judged: which columns of a table are what, and the models that the filters keep."""
