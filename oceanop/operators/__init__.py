"""The operators: one signature, two ways to treat time."""
