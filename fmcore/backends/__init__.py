"""Score and update: the slow NumPy truth and the fast kernels, under one contract."""
