# Wrong: its answer is of another type.
import torch


def run(x, weight):
    values = x.float()
    return values * torch.rsqrt(values.pow(2).mean(-1, keepdim=True) + 1e-5) * weight.float()
