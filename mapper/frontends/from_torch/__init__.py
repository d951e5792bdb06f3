"""Readers of torch and sinabs modules, through torch.fx."""
