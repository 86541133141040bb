"""The PyTorch side: runtime core, ops, autograd, modules."""
