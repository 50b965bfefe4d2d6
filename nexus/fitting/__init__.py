"""A run that fits the data and the time: what moves, what a step costs, what to choose."""
