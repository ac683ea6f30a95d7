"""What scripts/faults.py and tests/faults try: bad inputs, bad places, and processes that are killed."""
