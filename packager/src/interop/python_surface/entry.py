"""Compiles the CUDA sources beside this file for one exact architecture, or fails.

Written by `proofmark pack --surface python`. On import the sources are built by TVM-FFI, the library's bytes are
checked to hold machine code for that architecture and nothing else, and only then is it loaded. Builds are kept by
the digest of everything that goes in; a kept one is checked again before it is loaded. The environment is left as
it was found. `run` is the compiled function itself: no Python frame lies between caller and kernel. `run_strided`
is the same for tensors that need not be contiguous: those alone are copied.
"""
import hashlib
import os
import shutil
import struct
import tempfile
from pathlib import Path

import tvm_ffi
import tvm_ffi.cpp

ARCHITECTURE = @ARCHITECTURE@  # as TVM-FFI spells it
UNITS = @UNITS@
FILES = @FILES@
FLAGS = @FLAGS@
LINK_FLAGS = @LINK_FLAGS@
SYMBOL = @SYMBOL@
HERE = Path(__file__).resolve().parent
VARIABLE = "TVM_FFI_CUDA_ARCH_LIST"


class NotProven(RuntimeError):
    """The library's bytes are not what was asked for."""


def compiler():
    """The nvcc that TVM-FFI takes."""
    home = os.environ.get("CUDA_HOME") or os.environ.get("CUDA_PATH")
    found = os.path.join(home, "bin", "nvcc") if home else shutil.which("nvcc") or "/usr/local/cuda/bin/nvcc"
    return os.path.realpath(found)


def key():
    """Names a build by all that goes into it."""
    whole = hashlib.sha256()
    for name in FILES:
        content = (HERE / name).read_bytes()
        whole.update(b"%d %s %d " % (len(name), name.encode(), len(content)) + content)
    nvcc = compiler()
    size = os.stat(nvcc).st_size if os.path.exists(nvcc) else 0
    rest = [ARCHITECTURE, UNITS, FLAGS, LINK_FLAGS, SYMBOL, tvm_ffi.__version__, nvcc, size]
    whole.update(repr(rest).encode())
    return whole.hexdigest()


def build(folder):
    """Builds in a folder of its own; gives the library's path."""
    before = os.environ.get(VARIABLE)
    os.environ[VARIABLE] = ARCHITECTURE
    try:
        return tvm_ffi.cpp.build(
            name="kernel", cuda_files=[str(HERE / name) for name in UNITS if name.endswith(".cu")],
            cpp_files=[str(HERE / name) for name in UNITS if not name.endswith(".cu")], extra_cuda_cflags=FLAGS,
            extra_ldflags=LINK_FLAGS, extra_include_paths=[str(HERE)], build_directory=str(folder))
    finally:
        if before is None:
            os.environ.pop(VARIABLE, None)
        else:
            os.environ[VARIABLE] = before


# --- what the bytes say -------------------------------------------------------------------------------------------

def lz4(packed, size):
    """One LZ4 block."""
    out, at = bytearray(), 0

    def more(count):
        nonlocal at
        while True:
            byte = packed[at]
            at += 1
            count += byte
            if byte != 255:
                return count

    while at < len(packed):
        token = packed[at]
        at += 1
        literals = more(15) if token >> 4 == 15 else token >> 4
        out += packed[at:at + literals]
        at += literals
        if at >= len(packed):
            break
        offset = packed[at] | packed[at + 1] << 8
        at += 2
        length = 4 + (more(15) if token & 15 == 15 else token & 15)
        start = len(out) - offset
        if not 0 < offset <= len(out) or len(out) + length > size:
            raise NotProven("a compressed image is damaged")
        for index in range(length):  # a copy may read what it writes
            out.append(out[start + index])
    return bytes(out)


def zstandard(packed):
    """One Zstandard frame, by whichever reader this Python has."""
    try:
        from compression import zstd
    except ImportError:
        try:
            import zstandard as package
        except ImportError:
            raise NotProven("an image is compressed with Zstandard, which this Python cannot read: "
                            "`pip install zstandard`") from None
        return package.ZstdDecompressor().decompressobj().decompress(packed)
    return zstd.decompress(packed)


def sections(elf):
    """Name and content of each section."""
    if elf[:6] != b"\x7fELF\x02\x01":
        raise NotProven("an image is no ELF file")
    table, = struct.unpack_from("<Q", elf, 40)
    size, count, names = struct.unpack_from("<HHH", elf, 58)
    heads = [struct.unpack_from("<IIQQQQ", elf, table + size * index) for index in range(count)]
    for name, kind, _, _, offset, length in heads:
        start = heads[names][4] + name
        yield elf[start:elf.index(b"\0", start)].decode(), b"" if kind == 8 else elf[offset:offset + length]


def images(section):
    """Kind, architecture, flags and content of each image of a fat binary section."""
    at = 0
    while at < len(section):
        if not any(section[at:at + 8]):
            at += 8
            continue
        if at + 16 > len(section):
            raise NotProven("a fat binary is cut short")
        magic, version, header, length = struct.unpack_from("<IHHQ", section, at)
        end = at + header + length
        if (magic, version, header) != (0xBA55ED50, 1, 16) or end > len(section):
            raise NotProven("%#x in a section of fat binaries is none" % at)
        at += header
        while at < end:
            kind, _, head, payload, packed = struct.unpack_from("<HHIQI", section, at)
            number, = struct.unpack_from("<I", section, at + 28)
            flags, = struct.unpack_from("<Q", section, at + 40)
            size, = struct.unpack_from("<Q", section, at + 56) if head >= 64 else (0,)
            content = section[at + head:at + head + payload]
            if head < 48 or at + head + payload > end:
                raise NotProven("an image at %#x is cut short" % at)
            if packed or flags & 0xA000:
                content = content[:packed]
                content = zstandard(content) if flags & 0x8000 else lz4(content, size)
                if len(content) != size:
                    raise NotProven("a compressed image is damaged")
            yield kind, number, flags, content
            at += head + payload


def is_specific(image, number):
    """Whether an image says of itself that it is for one exact architecture, in the way of its compiler."""
    parts = dict(sections(image))
    compat = parts.get(".nv.compat", b"")
    at = 0
    while at + 4 <= len(compat):
        form, attribute, value = struct.unpack_from("<BBH", compat, at)
        if (form, attribute) == (2, 9):
            return value == 1
        at += 4 + (value if form == 4 else 0)
    flags, = struct.unpack_from("<I", image, 48)
    return bool(flags & (0x8 if number >= 100 else 0x800))


def check(path):
    """Raises unless all device code of a library is machine code for exactly the architecture."""
    letter = ARCHITECTURE[len(ARCHITECTURE.rstrip("af")):]
    number = int(ARCHITECTURE.rstrip("af").replace(".", ""))
    wanted = (2, number, {"a": 0x100000, "f": 0x200000, "": 0}[letter])
    library = Path(path).read_bytes()
    kernels = wrapped = 0
    for name, section in sections(library):
        if name not in (".nv_fatbin", "__nv_relfatbin"):
            continue
        wrapped += section.count(b"\x50\xed\x55\xba")
        for kind, found, flags, image in images(section):
            if (kind, found, flags & 0x300000) != wanted:
                raise NotProven("%s holds an image of kind %d for sm_%d with flags %#x: expected machine code for %s"
                                % (path, kind, found, flags, ARCHITECTURE))
            if is_specific(image, number) != (letter == "a"):
                raise NotProven("%s holds an image that is not for %s inside" % (path, ARCHITECTURE))
            kernels += sum(part.startswith(".text.") and bool(code) for part, code in sections(image))
    if library.count(b"\x50\xed\x55\xba") != wrapped:
        raise NotProven("%s holds a fat binary outside of its section" % path)
    if not kernels:
        raise NotProven("%s holds no kernel for %s" % (path, ARCHITECTURE))


# --- from sources to the function ---------------------------------------------------------------------------------

def load():
    """The library: a kept one that is what was built, or a new one."""
    base = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    place = Path(base) / "proofmark-entry" / key()
    kept, mark = place / "kernel.so", place / "sha256"
    if not (kept.is_file() and mark.is_file()
            and mark.read_text() == hashlib.sha256(kept.read_bytes()).hexdigest()):
        try:
            place.parent.mkdir(parents=True, exist_ok=True)
            folder = tempfile.mkdtemp(dir=place.parent)
        except OSError:
            folder, place = tempfile.mkdtemp(), None  # a cache that cannot be written costs the next build alone
        try:
            library = build(folder)
            check(library)
            ready = Path(tempfile.mkdtemp(dir=folder))
            shutil.copyfile(library, ready / "kernel.so")
            (ready / "sha256").write_text(hashlib.sha256((ready / "kernel.so").read_bytes()).hexdigest())
            if place is None:
                return tvm_ffi.load_module(str(ready / "kernel.so"))
            shutil.rmtree(place, ignore_errors=True)
            try:
                os.rename(ready, place)
            except OSError:
                if not kept.is_file():  # another process was not faster
                    raise
        finally:
            shutil.rmtree(folder, ignore_errors=True)
    check(kept)
    return tvm_ffi.load_module(str(kept))


MODULE = load()
run = MODULE[SYMBOL]


def run_strided(*arguments):
    """Calls the function; a tensor that is not contiguous goes in and comes back through a copy."""
    copies = [(one, one.contiguous()) if hasattr(one, "is_contiguous") and not one.is_contiguous() else None
              for one in arguments]
    given = [one if copy is None else copy[1] for one, copy in zip(arguments, copies)]
    result = run(*given)
    for copy in copies:
        if copy is not None:
            copy[0].copy_(copy[1])
    return result
