# Wrong: every second row is left as it was.
import triton
import triton.language as tl


@triton.jit
def rows(x, weight, y, COLUMNS: tl.constexpr):
    row = tl.program_id(0) * 2
    columns = tl.arange(0, COLUMNS)
    values = tl.load(x + row * COLUMNS + columns).to(tl.float32)
    scale = tl.rsqrt(tl.sum(values * values, axis=0) / COLUMNS + 1e-5)
    weights = tl.load(weight + columns).to(tl.float32)
    tl.store(y + row * COLUMNS + columns, (values * scale * weights).to(tl.bfloat16))


def run(x, weight, y):
    rows[((x.shape[0] + 1) // 2,)](x, weight, y, COLUMNS=4096, num_warps=8)
