"""Networks, losses, optimisers, the training loop and inference."""
