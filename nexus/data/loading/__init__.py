"""From a catalog to batches: clips drawn, decoded, augmented, collated."""
