"""Section 3 of the paper: a classifier that learns from vulnerable features alone (Algorithm 2, Table 1, Figure 2)."""
