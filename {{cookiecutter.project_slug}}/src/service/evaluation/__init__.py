"""Measures: cases with expected answers, one scorer per dimension, a runner, a gate and its report.

Cases and floors are data under `evals/`. Only `runner` needs the `eval` dependency group.
"""
