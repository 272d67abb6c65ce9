# Wrong: its answer has one row too many.
import torch


def run(x, weight):
    return torch.cat([x, x[:1]])
