# cuBLAS, by torch.
import torch


def run(a, b):
    return torch.matmul(a, b.T)
