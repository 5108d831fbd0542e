"""Tests on a real GPU: what the pretended one of ``tests/pretended`` cannot show, its last digits above all.

``pytest -m gpu tests/gpu`` runs them; without a CUDA device they are skipped. Where pytest-timeout is not installed,
``pytest -c tests/gpu/alone.ini --rootdir . --confcutdir . tests/gpu`` does. With ``MEASUREBENCH_REHEARSE_GPU=cpu`` in
the environment the CPU stands in for the GPU, so that the tests themselves can be tried.
"""
