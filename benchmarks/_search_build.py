"""Builds one index of drawn rows in a process of its own, so that its memory can be watched.

python _search_build.py ROWS FOLDER KIND RECALL MEMORY
"""

import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent)]

if __name__ == "__main__":
    from _search_vectors import SearchVectors, build_as_command

    from retrieval.choosing import chooser

    n, folder, kind, recall, memory = sys.argv[1:]
    choose = chooser(kind, 10, float(recall), int(memory), dtype="float16")
    build_as_command(SearchVectors(int(n)), Path(folder), choose, "float16")
