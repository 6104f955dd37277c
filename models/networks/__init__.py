"""Networks, losses, optimisers and the training loop."""
