"""What a service tells people about itself and its petitions: lines of the log, counts, and words."""
