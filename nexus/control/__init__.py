"""A world model in an environment: policies, and what they reach."""
