"""Arrays: petitions that stand for many alike."""
