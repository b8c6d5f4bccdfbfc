"""Experiments that compare ways of judging and of learning: each trains several models and draws one figure.

``python -m studies.NAME --workdir=runs/NAME`` runs one. What it trains is ``experiments/NAME.py``, whose docstring has
the question and the answer; docs/studies/ has the figures.
"""
