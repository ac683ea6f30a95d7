"""A user's classifier made a detector: by log-odds rejection, or with our suspicion beside its label."""
