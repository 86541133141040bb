"""Sparse Jacobians: patterns, colourings, and the derivatives computed in compressed form."""
