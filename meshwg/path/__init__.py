"""Finding the best path to one peer."""
