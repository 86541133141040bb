"""Tensors in the frontend: storages and views, and the functions of torch that compute."""
