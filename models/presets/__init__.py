"""The models that can be trained, one module per preset."""
