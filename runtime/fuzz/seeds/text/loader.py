import base64, subprocess, zlib
PTX = """.version 8.0\n.target sm_%d\n.address_size 64\n.visible .entry k() { ret; }\n"""
CODE = base64.b64decode("UO1VugEAEABgAAAAAAAAAA==") + bytes.fromhex("7f454c460201014108")
BYTES = b"\x50\xed\x55\xba\x01\x00\x10\x00" + b"\x7fELF"
LIST = [0x50, 0xed, 0x55, 0xba, 127, 69, 76, 70]
subprocess.run(["nvcc", "-arch=sm_90a", "k.cu"])
