"""MoltBot operator: one governed door to many language models."""
