# Says what this interpreter is and has, as one JSON document.
import importlib.metadata
import json
import os
import sys

packages = {}
for name in sys.argv[1:]:
    try:
        packages[name] = importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        pass
here = os.getcwd()
paths = [os.path.abspath(path) for path in sys.path if path and os.path.exists(path)]
prefixes = {sys.prefix, sys.base_prefix, sys.exec_prefix, os.path.dirname(os.path.realpath(sys.executable))}
print(
    json.dumps(
        {
            "version": "%d.%d.%d" % sys.version_info[:3],
            "executable": sys.executable,
            "paths": [path for path in paths if path != here],
            "prefixes": sorted(path for path in prefixes if os.path.isdir(path)),
            "packages": packages,
        }
    )
)
